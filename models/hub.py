"""The hub of models and data sets, where a name that is no folder here may be an id."""

from functools import cache
from typing import Any


@cache
def give_up_at_first_failure() -> None:
    """Make huggingface_hub say at the first failed request that it cannot reach the hub; it would ask five times more.

    Once the hub has answered, a connection that breaks is tried again as always. Files in the local cache are found
    without the hub too.
    """
    # Imported here: folders need neither, and serving has no huggingface_hub.
    import huggingface_hub
    import requests
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import OfflineModeIsEnabled

    if HF_HUB_OFFLINE:
        return

    class Adapter(requests.adapters.HTTPAdapter):
        has_answered = False

        def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
            try:
                response = super().send(request, *arguments, **options)
            except (requests.ConnectionError, requests.Timeout) as error:
                if Adapter.has_answered:
                    raise
                # The one error that all callers take for a missing network and none answers by asking again.
                raise OfflineModeIsEnabled(f"{request.url} cannot be reached") from error
            Adapter.has_answered = True
            return response

    def make_session() -> requests.Session:
        session = requests.Session()
        session.mount("https://", Adapter())
        session.mount("http://", Adapter())
        return session

    huggingface_hub.configure_http_backend(make_session)
