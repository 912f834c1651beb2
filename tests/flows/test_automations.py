"""What people are told reaches them as it was written, whatever their chat makes of it."""

import asyncio
import uuid
from typing import Any

import pytest
from prefect.events.actions import SendNotification
from prefect.server.events import jinja_filters
from prefect.server.utilities.user_templates import register_user_template_filters, render_user_template

from flows.automations import notifications

WRITTEN = "it doesn't know <!channel> & <http:evil.example|the fix>"
ESCAPED = "it doesn't know &lt;!channel&gt; &amp; &lt;http:evil.example|the fix&gt;"


@pytest.mark.parametrize("automation", notifications(uuid.uuid4()), ids=lambda one: one.name)
def test_a_message_holds_nothing_that_slack_takes_for_a_link_or_a_call(automation: Any) -> None:
    register_user_template_filters(jinja_filters.all_filters)
    state = {"name": "Failed", "message": WRITTEN}
    event = {"resource": {"id": "petmodels.model.pets"}, "payload": {"sentence": WRITTEN}}
    (action,) = automation.actions
    assert isinstance(action, SendNotification)

    told = asyncio.run(render_user_template(action.body, {"flow_run": {"state": state}, "event": event}))

    assert ESCAPED in told
    assert not set("<>") & set(told)
