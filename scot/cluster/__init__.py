"""Kubernetes through KubeRay: submit and watch jobs, promote a composer (the ``kubernetes`` package)."""
