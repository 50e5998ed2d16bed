"""Every model that users meet, by the name under which `nexthos schema` prints it."""

from __future__ import annotations

from nexthos_cli.manifest.resources import Resources
from nexthos_cli.output import models as output
from nexthos_shared import model as shared
from nexthos_shared.manifest.fields import ManifestFields
from nexthos_shared.model.stored import Kind


def models() -> dict[str, tuple[Kind, ...]]:
    """Stored values, requests and replies, and the output of each command."""
    act = output.ActOutput
    one: dict[str, Kind] = {
        "pipeline": shared.Pipeline,
        "status": shared.PipelineStatus,
        "event": shared.Event,
        "manifest": ManifestFields,
        "nats-resources": Resources,
        "status-request": shared.StatusRequest,
        "status-reply": shared.PipelineReply,
        "controller-reply": shared.ControllerReply,
        "list-request": shared.ListRequest,
        "list-reply": shared.ListReply,
        "reconcile-request": shared.ReconcileRequest,
        "reconcile-reply": shared.ReconcileReply,
        "logs-request": shared.LogsRequest,
        "logs-reply": shared.LogsReply,
        "usage-request": shared.UsageRequest,
        "config-request": shared.ConfigRequest,
        "usage-reply": shared.UsageReply,
        "error-reply": shared.ErrorReply,
        "output-apply": output.ApplyOutput,
        "output-publish": act,
        "output-pause": act,
        "output-draft": act,
        "output-rm": act,
        "output-scale": act,
        "output-restart": act,
        "output-history": output.HistoryOutput,
        "output-rollback": output.RollbackOutput,
        "output-rollout": output.RolloutOutput,
        "output-abandon": output.AbandonOutput,
        "output-ls": output.LsOutput,
        "output-get": ManifestFields,
        "output-events": output.EventsOutput,
        "output-logs": output.LogsOutput,
        "output-top": output.TopOutput,
        "output-wait": output.WaitOutput,
        "output-reconcile": shared.ReconcileReply,
        "output-lint": output.LintOutput,
        "output-doctor": output.DoctorOutput,
        "output-explain": output.ExplainOutput,
        "output-setup": output.SetupOutput,
        "output-auth": output.AuthOutput,
        "output-error": output.ErrorOutput,
    }
    several = {"output-status": (shared.PipelineReply, shared.ControllerReply)}
    return {**{name: (kind,) for name, kind in one.items()}, **several}
