"""What of BentoML is left out."""

from typing import Any

from _bentoml_impl.server.app import ServiceAppFactory

from service.app import HandlersOnlyApp, Steadfast


def names(factory: type[ServiceAppFactory]) -> list[str]:
    service: Any = Steadfast
    service.inject_config()
    return [middleware.cls.__name__ for middleware in factory(service, is_main=True).middlewares]


def test_what_is_left_out_is_what_we_know_of() -> None:
    # One more in a later BentoML is one to look at.
    assert names(ServiceAppFactory) == ["OpenTelemetryMiddleware", "TimeoutMiddleware", "ContextMiddleware"]
    assert names(HandlersOnlyApp) == ["ContextMiddleware"]


def test_none_of_bentomls_pages_is_served() -> None:
    service: Any = Steadfast
    service.inject_config()
    pages = {getattr(route, "name", None) for route in ServiceAppFactory(service, is_main=True)().routes}
    ours = {getattr(route, "name", None) for route in HandlersOnlyApp(service, is_main=True)().routes}
    # One more in a later BentoML is one to look at.
    assert pages - ours == {"index", "static_content", "openapi-spec", "schema"}
