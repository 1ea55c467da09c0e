"""A key that is none is said on the connection and in its run; it breaks no worker."""

from __future__ import annotations

import pytest

from config.secrets import SecretUnreadable
from config.tenancy.scope import for_environment
from connectors.shops.models import Connection
from connectors.sync.models import SyncRun
from connectors.sync.reading import pull
from connectors.sync.sweeps import sweep
from connectors.sync.trying import try_connection
from tests.connectors.sync.outside import VENDORS, Outside

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("app", VENDORS)
@pytest.mark.parametrize("key", ["no key", "密钥", "two\r\nX-Lines: 1", "\x00", "e\u0301 🔑"])
def test_a_key_that_is_none_is_trouble_in_words_and_no_crash(
    outside: Outside, app: str, key: str
) -> None:
    _, secrets = outside.credentials(app)
    connection = outside.connect(app, secrets=dict.fromkeys(secrets, key))

    trial = try_connection(
        outside.environment, vendor=connection.vendor, base_url=connection.base_url,
        config=connection.config, secrets=dict.fromkeys(secrets, key), shop="",
        now=outside.now(),
    )  # fmt: skip
    pulled = pull(outside.environment, connection.pk, **outside.tools)
    if pulled is None:
        sweep(outside.environment, connection.pk, **outside.tools)

    assert not trial.ok
    with for_environment(outside.environment, write=False):
        row, run = Connection.objects.get(), SyncRun.objects.get()
    assert (row.state, run.state) == (Connection.State.TROUBLE, SyncRun.State.FAILED)
    assert row.trouble is not None


def test_a_connection_whose_secrets_cannot_be_opened_says_so_and_its_run_has_failed(
    outside: Outside,
) -> None:
    connection, other = outside.connect("mall"), outside.connect("qimen")
    with for_environment(outside.environment):
        Connection.objects.update(secrets_sealed="gone.AAAA")

    pulled = pull(outside.environment, connection.pk, **outside.tools)
    with pytest.raises(SecretUnreadable):
        sweep(outside.environment, other.pk, **outside.tools)

    assert pulled is not None
    assert isinstance(pulled.error, SecretUnreadable)
    with for_environment(outside.environment, write=False):
        run = SyncRun.objects.get()
        rows = Connection.objects.all()
        assert [row.trouble_code for row in rows] == ["secret_unreadable"] * 2
        assert (run.state, run.error_code) == (SyncRun.State.FAILED, "secret_unreadable")
        assert {row.secrets_sealed for row in rows} == {"gone.AAAA"}  # nothing is blanked
    assert outside.host.costs == {}
