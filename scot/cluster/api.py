"""The calls to a Kubernetes API server that SCOT needs: plain dicts in and out; an error is one sentence."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scot.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    ScotError,
    Unauthenticated,
    Unavailable,
    install_hint,
)

Json = dict[str, Any]

GROUP, VERSION = "ray.io", "v1"
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_CALL_S = 30  # seconds that a call may take
_SILENCE_S = 60  # seconds without a line after which a log stream is opened again: a lost connection raises no error


class Cluster:
    """One namespace of a cluster. Every method raises the API server's errors as :func:`error_of` translates them.

    Args:
        namespace: empty for the namespace of the kubeconfig or, in a pod, of its service account.

    Raises:
        InvalidInput: no cluster is configured here, or the ``kubernetes`` package is missing.
    """

    def __init__(self, namespace: str = "") -> None:
        try:
            self._package: Any = importlib.import_module("kubernetes")
            self._watch: Any = importlib.import_module("kubernetes.watch")
        except ModuleNotFoundError as error:
            raise InvalidInput(f"scot cluster needs the kubernetes package: {install_hint('k8s')}") from error
        self.in_pod = "KUBECONFIG" not in os.environ and _ACCOUNT.is_file()
        configured = self._configure()
        self.namespace = namespace or configured
        client = self._package.client
        settings = client.Configuration.get_default_copy()
        settings.retries = 1  # of a call; callers that wait longer try again themselves
        connection = client.ApiClient(settings)
        self._objects, self.core = client.CustomObjectsApi(connection), client.CoreV1Api(connection)

    def _configure(self) -> str:
        config = self._package.config
        try:
            if self.in_pod:
                config.load_incluster_config()
                return _ACCOUNT.read_text(encoding="utf-8").strip()
            file = os.environ.get("KUBECONFIG") or None  # the package reads the variable only once, on import
            config.load_kube_config(file)
            _, current = config.list_kube_config_contexts(file)
            return str(current["context"].get("namespace") or "default")
        except (config.ConfigException, OSError, KeyError, TypeError) as error:
            raise InvalidInput("no cluster is configured: set KUBECONFIG, or run in a pod of the cluster") from error

    def get(self, plural: str, name: str) -> Json:
        """One of KubeRay's objects; ``plural`` is rayjobs, rayclusters or rayservices."""
        return self._ray(self._objects.get_namespaced_custom_object, plural, name)

    def objects(self, plural: str, selector: str = "") -> list[Json]:
        """KubeRay's objects with these labels."""
        found = self._ray(self._objects.list_namespaced_custom_object, plural, label_selector=selector)
        return list(found["items"])

    def create(self, plural: str, body: Json, *, dry_run: bool = False) -> Json:
        """Create an object; unknown fields are an error. With ``dry_run`` the server only validates it."""
        options = {"field_validation": "Strict", **({"dry_run": "All"} if dry_run else {})}
        return self._ray(self._objects.create_namespaced_custom_object, plural, body, **options)

    def patch(self, plural: str, name: str, body: Json) -> Json:
        """Merge ``body`` into an object. Raises Conflict when its resourceVersion is no longer current."""
        return self._ray(self._objects.patch_namespaced_custom_object, plural, name, body)

    def delete(self, plural: str, name: str) -> None:
        """Delete an object and, in the background, its dependents."""
        self._ray(self._objects.delete_namespaced_custom_object, plural, name, propagation_policy="Background")

    def pods(self, selector: str) -> list[Json]:
        """Pods with these labels."""
        return self._core(self.core.list_namespaced_pod, label_selector=selector)

    def events(self, kind: str, name: str) -> list[Json]:
        """The cluster's events about an object."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        return self._core(self.core.list_namespaced_event, field_selector=selector)

    def secret(self, name: str, key: str) -> str | None:
        """One value of a Secret; None if it does not exist or this account must not read it."""
        with contextlib.suppress(ScotError), self.translated_errors():
            answer = self.core.read_namespaced_secret(
                name, self.namespace, _preload_content=False, _request_timeout=_CALL_S
            )
            if value := (json.loads(answer.data).get("data") or {}).get(key):
                return base64.b64decode(value).decode()
        return None

    def wait_for_change(self, plural: str, name: str, resource_version: str, seconds: int) -> None:
        """Return when the object changes after this version, after ``seconds``, or when the connection is lost.

        Read the object again in each case: a watch may end at any time.
        """
        stream = self._watch.Watch().stream(
            self._objects.list_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            plural,
            field_selector=f"metadata.name={name}",
            resource_version=resource_version,
            timeout_seconds=seconds,
            _request_timeout=(_CALL_S, seconds + 5),
        )
        for _ in stream:
            return

    def log(self, pod: str, container: str, *, follow: bool) -> LogStream:
        """A container's log from its beginning; with ``follow`` it goes on while the log grows."""
        with self.translated_errors():
            answer = self.core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                follow=follow,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(_CALL_S, _SILENCE_S),
            )
        return LogStream(answer, self.translated_errors())

    def translated_errors(self) -> _TranslatedErrors:
        """A context in which errors of the ``kubernetes`` package become SCOT's."""
        return _TranslatedErrors(self.namespace)

    def _ray(self, call: Callable[..., Any], plural: str, *rest: Any, **options: Any) -> Json:
        with self.translated_errors():
            return dict(call(GROUP, VERSION, self.namespace, plural, *rest, _request_timeout=_CALL_S, **options))

    def _core(self, call: Callable[..., Any], **options: Any) -> list[Json]:
        with self.translated_errors():
            answer = call(self.namespace, _preload_content=False, _request_timeout=_CALL_S, **options)
            return list(json.loads(answer.data)["items"])


class LogStream:
    """Lines of a log, each with its timestamp first, until it ends or the connection is lost."""

    def __init__(self, answer: Any, translated_errors: _TranslatedErrors) -> None:
        self._answer, self._translated_errors = answer, translated_errors

    def __iter__(self) -> Iterator[str]:
        rest = b""
        try:
            with self._translated_errors:
                for chunk in self._answer.stream(65536):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode("utf-8", "replace") for line in lines)
        finally:
            self._answer.release_conn()
        if rest:
            yield rest.decode("utf-8", "replace")

    def end(self) -> None:
        """Close the stream, from any thread; a reader that waits for the next line returns."""
        with contextlib.suppress(Exception):  # it may have just ended
            self._answer.shutdown()


class _TranslatedErrors:
    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ScotError) or not isinstance(error, Exception):
            return
        module = type(error).__module__.partition(".")[0]
        if hasattr(error, "status") and module == "kubernetes":
            raise error_of(int(error.status or 0), _message(getattr(error, "body", None)), self._namespace) from error
        if module in ("urllib3", "kubernetes", "websocket") or isinstance(error, OSError):
            raise Unavailable("the cluster's API server cannot be reached or did not answer in time") from error


def error_of(status: int, message: str, namespace: str) -> ScotError:
    """SCOT's error for an API server's HTTP status and message."""
    if status == 401:
        return Unauthenticated("the cluster rejects the credentials of the kubeconfig")
    if status == 403 and "is forbidden: User" not in message and "cannot" not in message:
        return InvalidInput(f"the cluster rejects it: {message}")  # an admission rule: quota, pod security
    if status == 403:
        return PermissionDenied(f"this account has no permission in namespace {namespace}: {message}")
    if status == 404 and (not message or message.startswith("404 page")):
        return NotFound("the cluster has no RayJob and RayService: install the KubeRay operator first (k8s/README.md)")
    if status == 404:
        return NotFound(f"{message} in namespace {namespace}")
    if status == 409:
        return Conflict(f"the object changed in the meantime: {message}")
    if status in (400, 422):
        return InvalidInput(f"the cluster rejects it: {message}")
    return Unavailable(
        f"the cluster's API server answers with HTTP {status or 'no status'}: {message or 'no reason given'}"
    )


def _message(body: object) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        parsed = json.loads(text)
    except ValueError:
        return text.strip()
    return str(parsed.get("message", "")) if isinstance(parsed, Mapping) else text.strip()
