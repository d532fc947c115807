"""The few calls to a Kubernetes API server that SCOT makes: plain dicts in and out, one sentence for an error."""

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
_SILENCE_S = 60  # seconds without a line after which a stream of logs is opened anew: a lost connection says nothing


class Cluster:
    """One namespace of a cluster. Every method raises what :func:`said` makes of the API server's refusal.

    Args:
        namespace: empty for the one that the kubeconfig (or, in a pod, its service account) names.

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
        settings.retries = 1  # of a call; who waits for longer tries again by itself
        connection = client.ApiClient(settings)
        self._objects, self.core = client.CustomObjectsApi(connection), client.CoreV1Api(connection)

    def _configure(self) -> str:
        config = self._package.config
        try:
            if self.in_pod:
                config.load_incluster_config()
                return _ACCOUNT.read_text(encoding="utf-8").strip()
            file = os.environ.get("KUBECONFIG") or None  # the package itself reads it once, when it is imported
            config.load_kube_config(file)
            _, current = config.list_kube_config_contexts(file)
            return str(current["context"].get("namespace") or "default")
        except (config.ConfigException, OSError, KeyError, TypeError) as error:
            raise InvalidInput("no cluster is configured here: set KUBECONFIG, or run in a pod of it") from error

    def get(self, plural: str, name: str) -> Json:
        """One object of KubeRay's: ``plural`` is rayjobs, rayclusters or rayservices."""
        return self._ray(self._objects.get_namespaced_custom_object, plural, name)

    def objects(self, plural: str, selector: str = "") -> list[Json]:
        """Objects of KubeRay's, of these labels."""
        found = self._ray(self._objects.list_namespaced_custom_object, plural, label_selector=selector)
        return list(found["items"])

    def create(self, plural: str, body: Json, *, dry_run: bool = False) -> Json:
        """Create an object, none of whose fields may be unknown; with ``dry_run`` the server only says if it would."""
        options = {"field_validation": "Strict", **({"dry_run": "All"} if dry_run else {})}
        return self._ray(self._objects.create_namespaced_custom_object, plural, body, **options)

    def patch(self, plural: str, name: str, body: Json) -> Json:
        """Merge ``body`` into an object. Raises Conflict when it holds a resourceVersion that is no longer current."""
        return self._ray(self._objects.patch_namespaced_custom_object, plural, name, body)

    def delete(self, plural: str, name: str) -> None:
        """Delete an object and, in the background, what belongs to it."""
        self._ray(self._objects.delete_namespaced_custom_object, plural, name, propagation_policy="Background")

    def pods(self, selector: str) -> list[Json]:
        """Pods of these labels."""
        return self._core(self.core.list_namespaced_pod, label_selector=selector)

    def events(self, kind: str, name: str) -> list[Json]:
        """What the cluster has noted about an object."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        return self._core(self.core.list_namespaced_event, field_selector=selector)

    def secret(self, name: str, key: str) -> str | None:
        """One value of a Secret, if there is one and the account may read it."""
        with contextlib.suppress(ScotError), self.saying():
            answer = self.core.read_namespaced_secret(
                name, self.namespace, _preload_content=False, _request_timeout=_CALL_S
            )
            if value := (json.loads(answer.data).get("data") or {}).get(key):
                return base64.b64decode(value).decode()
        return None

    def changed(self, plural: str, name: str, resource_version: str, seconds: int) -> None:
        """Return when the object changes from this version on, or after some seconds, or when the connection is lost.

        The caller reads the object again in any case, so that nothing depends on a watch that lives.
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
        """A container's log from its beginning, until it ends or, with ``follow``, as it grows."""
        with self.saying():
            answer = self.core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                follow=follow,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(_CALL_S, _SILENCE_S),
            )
        return LogStream(answer, self.saying())

    def saying(self) -> _Saying:
        """A block in which the API's errors become SCOT's."""
        return _Saying(self.namespace)

    def _ray(self, call: Callable[..., Any], plural: str, *rest: Any, **options: Any) -> Json:
        with self.saying():
            return dict(call(GROUP, VERSION, self.namespace, plural, *rest, _request_timeout=_CALL_S, **options))

    def _core(self, call: Callable[..., Any], **options: Any) -> list[Json]:
        with self.saying():
            answer = call(self.namespace, _preload_content=False, _request_timeout=_CALL_S, **options)
            return list(json.loads(answer.data)["items"])


class LogStream:
    """Lines of a log, each beginning with its time, until it ends or the connection is lost."""

    def __init__(self, answer: Any, saying: _Saying) -> None:
        self._answer, self._saying = answer, saying

    def __iter__(self) -> Iterator[str]:
        rest = b""
        try:
            with self._saying:
                for chunk in self._answer.stream(65536):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode("utf-8", "replace") for line in lines)
        finally:
            self._answer.release_conn()
        if rest:
            yield rest.decode("utf-8", "replace")

    def end(self) -> None:
        """Wake whoever waits for the next line; from any thread."""
        with contextlib.suppress(Exception):  # it may have ended by itself in this moment
            self._answer.shutdown()


class _Saying:
    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ScotError) or not isinstance(error, Exception):
            return
        module = type(error).__module__.partition(".")[0]
        if hasattr(error, "status") and module == "kubernetes":
            raise said(int(error.status or 0), _message(getattr(error, "body", None)), self._namespace) from error
        if module in ("urllib3", "kubernetes", "websocket") or isinstance(error, OSError):
            raise Unavailable("the cluster's API server cannot be reached, or did not answer in time") from error


def said(status: int, message: str, namespace: str) -> ScotError:
    """The error of ours that says what an API server's HTTP status and message mean."""
    if status == 401:
        return Unauthenticated("the cluster does not know who you are: the kubeconfig's credentials are refused")
    if status == 403 and "is forbidden: User" not in message and "cannot" not in message:
        return InvalidInput(f"the cluster refuses it: {message}")  # an admission rule: quota, pod security
    if status == 403:
        return PermissionDenied(f"the cluster does not allow it in namespace {namespace}: {message}")
    if status == 404 and (not message or message.startswith("404 page")):
        return NotFound("the cluster does not know Ray's kinds: install the KubeRay operator first (k8s/README.md)")
    if status == 404:
        return NotFound(f"{message} in namespace {namespace}")
    if status == 409:
        return Conflict(f"somebody else changed it meanwhile: {message}")
    if status in (400, 422):
        return InvalidInput(f"the cluster refuses it: {message}")
    return Unavailable(f"the cluster's API server answers with {status or 'nothing'}: {message or 'no reason given'}")


def _message(body: object) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        read = json.loads(text)
    except ValueError:
        return text.strip()
    return str(read.get("message", "")) if isinstance(read, Mapping) else text.strip()
