"""The WSGI application: the routes to the resources, and the responses to errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import falcon
from prometheus_client import CollectorRegistry

from geventjob.coordination.base import Coordination
from geventjob.job.bounds import MOST_RETRIES
from geventjob.server.accounts.audit import Audit
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.admission import Permits
from geventjob.server.http.audited import Audited
from geventjob.server.http.authentication import Authentication
from geventjob.server.http.environ import PERMITS
from geventjob.server.http.errors import problem_of
from geventjob.server.http.measured import Measured
from geventjob.server.http.response import set_problem
from geventjob.server.jobs.limits import LimitService
from geventjob.server.jobs.pauses import PauseService
from geventjob.server.jobs.rights import Rights
from geventjob.server.jobs.schedules import ScheduleService
from geventjob.server.jobs.service import Jobs
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.leaders.reconcile import Reconciler
from geventjob.server.page import page_files
from geventjob.server.problem import Problem
from geventjob.server.resources.batch import BatchResource
from geventjob.server.resources.bulk import BulkResource
from geventjob.server.resources.credential import CredentialResource
from geventjob.server.resources.distributor import DistributorResource
from geventjob.server.resources.entry_point import EntryPointResource
from geventjob.server.resources.event import EventResource
from geventjob.server.resources.events import EventsResource
from geventjob.server.resources.executor import ExecutorResource
from geventjob.server.resources.fleet import NodeResource, QueueResource, ReconcileResource
from geventjob.server.resources.health import HealthResource
from geventjob.server.resources.job import JobResource
from geventjob.server.resources.limit import LimitResource
from geventjob.server.resources.metrics import MetricsResource
from geventjob.server.resources.openapi import OpenApiResource, Route, routes
from geventjob.server.resources.page import PageResource, lead_to_page
from geventjob.server.resources.pause import PauseResource
from geventjob.server.resources.rates import AttentionResource, FailureResource, RateResource
from geventjob.server.resources.schedule import ScheduleResource
from geventjob.server.resources.session import SessionResource
from geventjob.server.resources.templates import credential_templates, session_templates
from geventjob.server.resources.user import UserResource
from geventjob.server.store.base import Store
from geventjob.server.store.watched import WatchedStore
from geventjob.server.watch.failure_groups import FailureGroups
from geventjob.server.watch.feed import Feed
from geventjob.server.watch.looking import look_around
from geventjob.server.watch.metrics import FleetMetrics, JobMetrics, observe_store
from geventjob.server.watch.rates import Rates
from geventjob.traceparent import INCOMING, parsed

if TYPE_CHECKING:
    from geventjob.server.watch.traces import JobTraces


class App(falcon.App[Any, Any]):
    """A falcon application that knows the trace of a request, and releases its permits before its response is sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.routes: list[Route] = []
        """All routes, for the description of the API."""

    def add_route(self, uri_template: str, resource: object, *, suffix: str | None = None, **options: Any) -> None:
        """Route a path to a resource, as falcon does."""
        self.routes += routes(uri_template, resource, suffix)
        super().add_route(uri_template, resource, suffix=suffix, **options)

    def __call__(self, env: dict[str, Any], start_response: Any) -> Any:
        INCOMING.set(parsed(env.get("HTTP_TRACEPARENT")))  # also None: a connection has one greenlet
        with Permits() as env[PERMITS]:
            return super().__call__(env, start_response)


def application(
    store: Store,
    coordination: Coordination,
    sessions: Sessions,
    passwords: Passwords,
    version: str,
    base_uri: str | None = None,
    rights: Rights | None = None,
    promoter: Promoter | None = None,
    max_retries: int = MOST_RETRIES,
    feed: Feed | None = None,
    rates: Rates | None = None,
    groups: FailureGroups | None = None,
    audit: Audit | None = None,
    metrics: CollectorRegistry | None = None,
    metrics_token: str | None = None,
    traces: JobTraces | None = None,
) -> falcon.App[Any, Any]:
    """Return the API over a store and a queue, both started.

    `base_uri`: the address that clients use; None: taken from each request. `rights`: the actions that submitters may
    add; None: none. `promoter`: the promoter of this server; None: another server has one. `max_retries`:
    the most retries of any job. `feed`: the feed of live events, which the caller closes; None: one that ends with the
    process. `rates`: the counts that the caller keeps; None: counts of this process that nobody keeps.
    `groups`: the groups of failures, likewise. `audit`: who changes what; None: events that are never deleted.
    `metrics`, `metrics_token`: the metrics of this process, and what lets a client read them. `traces`: the spans of
    jobs; None: there are none.
    """
    feed = feed or Feed()
    store = store if isinstance(store, WatchedStore) else WatchedStore(store)
    store.watch(feed.note)
    look_around(feed, store, coordination)
    promoter = promoter or Promoter(store, coordination)
    rates = rates or Rates(store, coordination, promoter)
    store.watch(rates.note)
    groups = groups or FailureGroups(store)
    store.watch(groups.note)
    if traces:
        store.watch(traces.note)
    jobs = Jobs(store, coordination, rights, promoter, max_retries, traces.around if traces else None)
    job, bulk = JobResource(jobs, sessions), BulkResource(jobs, sessions)
    schedule = ScheduleResource(store, ScheduleService(store, jobs), sessions)
    pauses = PauseService(store, promoter.book)
    pause = PauseResource(pauses, sessions)
    audit = audit or Audit(store)
    metrics = metrics or CollectorRegistry()
    store.watch(JobMetrics(metrics).note)
    store.measure = observe_store(metrics)
    metrics.register(FleetMetrics(coordination))
    app = App(middleware=[Measured(metrics), Authentication(sessions, base_uri), Audited(audit)])
    app.add_error_handler(Exception, _any_error)
    app.add_error_handler(falcon.HTTPError, _http_error)
    health = HealthResource(store, coordination, jobs.queue_refuses)
    for path in ("/healthz", "/readyz"):
        app.add_route(path, health)
    app.add_route("/metrics", MetricsResource(metrics, sessions, metrics_token, base_uri))
    app.add_route("/api/rate", RateResource(rates, sessions))
    app.add_route("/api/failure", FailureResource(groups, sessions))
    app.add_route("/api/attention", AttentionResource(store, coordination, rates, health, sessions))
    app.add_route("/api/events", EventsResource(feed, sessions))
    app.add_route("/api/cloud-entry-point", EntryPointResource(version, base_uri))
    app.add_route("/api/node", NodeResource(coordination, sessions))
    app.add_route("/api/executor/{name}/{order}", ExecutorResource(coordination, sessions))
    distributor = DistributorResource(coordination, sessions)
    app.add_route("/api/distributor", distributor)
    app.add_route("/api/distributor/{name}/fire", distributor, suffix="fire")
    app.add_route("/api/queue", QueueResource(coordination, pauses, sessions))
    app.add_route("/api/queue/reconcile", ReconcileResource(Reconciler(store, coordination, promoter), sessions))
    collections = {
        "session": SessionResource(store, sessions, passwords, base_uri),
        "session-template": session_templates(),
        "credential": CredentialResource(store, sessions),
        "credential-template": credential_templates(),
        "user": UserResource(store, sessions, passwords),
        "job": job,
        "schedule": schedule,
        "limit": LimitResource(store, LimitService(store, promoter.book), sessions),
    }
    for kind, collection in collections.items():
        app.add_route(f"/api/{kind}", collection, suffix="all")
        app.add_route(f"/api/{kind}/{{name}}", collection)
    app.add_route("/api/pause", pause, suffix="all")
    app.add_route("/api/pause/{name:path}", pause)  # names of actions may have slashes
    for part in ("why", "log", "record"):
        app.add_route(f"/api/job/{{name}}/{part}", job, suffix=part)
    event = EventResource(store, audit, jobs, sessions)
    app.add_route("/api/event", event, suffix="all")
    app.add_route("/api/event/{name}", event)
    app.add_route("/api/job/{name}/event", event, suffix="job")
    app.add_route("/api/job/{name}/{action}", job, suffix="action")
    app.add_route("/api/schedule/bulk-fire", schedule, suffix="fire")
    app.add_route("/api/schedule/{name}/{action}", schedule, suffix="action")
    app.add_route("/api/job/batch", BatchResource(jobs, sessions))
    for operation in ("add", "edit", "delete", "stop", "release", "rerun"):
        app.add_route(f"/api/job/bulk-{operation}", bulk, suffix=operation)
    app.add_route("/api/openapi.json", OpenApiResource(app.routes, version, sessions))
    app.add_sink(lead_to_page, r"/\Z")
    for path, file in page_files().items():
        app.add_route(path, PageResource(file))
    return app


_RESOURCE = re.compile(r"/api(/[^/]+){1,3}")


def _any_error(req: falcon.Request, resp: falcon.Response, error: Exception, params: Any) -> None:
    set_problem(resp, problem_of(error))


def _http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: Any) -> None:
    """Answer an error of falcon in SlipStream's words, which call an unknown collection a wrong method."""
    is_route = isinstance(error, falcon.HTTPRouteNotFound)
    if isinstance(error, falcon.HTTPMethodNotAllowed) or (is_route and _RESOURCE.fullmatch(req.path)):
        resp.set_headers(error.headers or {})
        problem = Problem(405, f"invalid method ({req.method.lower()}) for {req.path}", resource_id=req.path)
    elif is_route:
        problem = Problem(404, "unknown resource", resource_id=req.path)
    else:
        problem = Problem(error.status_code, error.description or error.title or "bad request")
    set_problem(resp, problem)
