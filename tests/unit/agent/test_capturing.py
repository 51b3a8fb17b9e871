"""How captured records go home: whatever answer is lost, each file is stored once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest
from tests.unit.agent.making import make_deployment, make_service

from modelyard.agent.capturing import CaptureShipper, RecordFolder, deployments_of
from modelyard.agent.desired import DesiredStore
from modelyard.capture.jobs import KnownDeployment
from modelyard.domain.captured import Segment
from modelyard.domain.columns import Columns, ColumnType, Declared
from modelyard.domain.desired import DesiredCapture, DesiredState
from modelyard.domain.service import WhenFull
from modelyard.domain.values import digest_of
from modelyard.errors import Conflict, IntegrityError, PermissionDenied, Unavailable
from modelyard.schemas import CaptureReceipt, CaptureReport
from modelyard_runtime.capture.records import Told, encode
from modelyard_runtime.capture.segments import Segment as Open
from modelyard_runtime.capture.segments import frame
from modelyard_runtime.capture.spool import Spool
from modelyard_runtime.capture.tallies import Tally

SERVICE = UUID(int=1)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Server:
    """Stores what comes, by its rules; an answer may be lost."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.numbers: dict[int, int] = {}
        self.reports: list[CaptureReport] = []
        self.loses_answers = False
        self.is_away = False
        self.refused: set[str] = set()
        self.damages = False

    def send_captured(
        self, epoch: int, sequence: int, segment: Segment, path: Path
    ) -> CaptureReceipt:
        if self.is_away:
            raise Unavailable("it is away")
        if segment.name in self.refused:
            raise PermissionDenied("of another agent")
        if self.damages or digest_of(path.read_bytes()) != segment.digest:
            raise IntegrityError("it arrived as something else")
        expected = self.numbers.get(epoch, 0)
        if sequence != expected and segment.name not in self.stored:
            raise Conflict("out of step")
        if sequence == expected:
            self.numbers[epoch] = expected + 1
            if segment.name not in self.stored:
                self.stored.append(segment.name)
        if self.loses_answers:
            raise Unavailable("the answer was lost")
        return CaptureReceipt(next=self.numbers[epoch])

    def report_captured(self, report: CaptureReport) -> None:
        self.reports.append(report)


class Host:
    """One host, whose agent may be killed: then there is another shipper on the same files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server()
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.again()

    def again(self) -> None:
        desired = DesiredStore(self.folder / "desired.json")
        captured = self.folder / "captured"
        captured.mkdir(exist_ok=True)
        self.shipper = CaptureShipper(self.server, captured, self.folder / "gateway", desired)

    def sealed(self, name: str) -> None:
        """A file is there to be sent."""
        content = name.encode()
        segment = Segment(
            name=name,
            service=SERVICE,
            service_name="digits",
            model="m",
            version=1,
            image="digits:1",
            date=date(2026, 1, 2),
            rows=1,
            requests=1,
            first=NOON,
            last=NOON,
            size=len(content),
            digest=digest_of(content),
        )
        outbox = self.folder / "captured" / "outbox"
        (outbox / f"{name}.parquet").write_bytes(content)
        (outbox / f"{name}.json").write_text(segment.model_dump_json())

    def pump(self) -> None:
        self.shipper.pump([RecordFolder(self.spool, "r0", SERVICE, "digits", "d", "r0")])

    @property
    def outbox(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "captured" / "outbox").iterdir())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_was_stored_is_deleted(host: Host) -> None:
    host.sealed("00001-a")
    host.sealed("00002-b")
    host.pump()
    assert host.server.stored == ["00001-a", "00002-b"]
    assert host.outbox == []


def test_a_lost_answer_costs_neither_that_file_nor_one_that_sorts_before_it(host: Host) -> None:
    host.sealed("00002-b")
    host.server.loses_answers = True
    with pytest.raises(Unavailable):
        host.pump()
    host.server.loses_answers = False
    host.sealed("00001-a")
    host.again()
    host.pump()
    assert host.server.stored == ["00002-b", "00001-a"]
    assert host.outbox == []


def test_what_one_of_the_two_forgot_is_sent_in_a_new_epoch(host: Host) -> None:
    host.sealed("00001-a")
    host.pump()
    host.server.numbers.clear()  # a backup was restored
    host.server.stored.clear()
    host.sealed("00002-b")
    with pytest.raises(Conflict):
        host.pump()
    host.pump()
    assert host.server.stored == ["00002-b"]
    (host.folder / "captured" / "position.json").unlink()
    host.sealed("00003-c")
    host.again()
    for _ in range(2):
        try:
            host.pump()
        except (Conflict, Unavailable):
            continue
    assert host.server.stored == ["00002-b", "00003-c"]


def test_nothing_is_deleted_while_the_server_is_away(host: Host) -> None:
    host.sealed("00001-a")
    host.server.is_away = True
    with pytest.raises(Unavailable):
        host.pump()
    assert host.outbox == ["00001-a.json", "00001-a.parquet"]


def test_what_the_server_refuses_stays_and_holds_up_nothing(host: Host) -> None:
    host.sealed("00001-a")
    host.sealed("00002-b")
    host.server.refused = {"00001-a"}
    host.pump()
    assert host.server.stored == ["00002-b"]
    host.server.refused.clear()
    host.pump()
    assert host.server.stored == ["00002-b", "00001-a"]


def test_what_was_damaged_on_its_host_is_put_aside_and_holds_up_nothing(host: Host) -> None:
    for name in ("00001-a", "00002-b", "00003-c"):
        host.sealed(name)
    folder = host.folder / "captured" / "outbox"
    (folder / "00001-a.parquet").write_bytes(b"a bit was turned")
    (folder / "00002-b.parquet").unlink()
    host.pump()
    assert host.server.stored == ["00003-c"]
    assert host.outbox == ["00001-a.damaged"]


def test_what_only_its_way_has_damaged_is_sent_again(host: Host) -> None:
    host.sealed("00001-a")
    host.server.damages = True
    with pytest.raises(IntegrityError):
        host.pump()
    host.server.damages = False
    host.pump()
    assert host.server.stored == ["00001-a"]


def test_what_is_counted_and_what_waits_is_told(host: Host) -> None:
    host.pump()
    assert host.server.reports == []  # nothing was ever captured
    Tally(host.spool / "worker-0.tally").add(captured=3)
    written = Open(host.spool, "00001-worker-0")
    host.pump()
    written.close()
    (report,) = host.server.reports
    assert [(tally.captured, tally.service_name) for tally in report.tallies] == [(3, "digits")]
    assert report.waiting == {SERVICE: 1}


def test_the_records_of_a_replica_that_goes_are_kept(host: Host) -> None:
    Tally(host.spool / "worker-0.tally").add(captured=3)
    folder = RecordFolder(host.spool, "r0", SERVICE, "digits", "d", "r0")
    host.shipper.keep(folder)
    assert not host.spool.exists()
    host.shipper.keep(folder)  # said twice
    host.shipper.pump([])
    assert host.server.reports[0].tallies[0].captured == 3
    assert list((host.folder / "captured" / "ended").iterdir()) == []


def test_links_of_a_script_are_no_records_and_keep_no_folder(host: Host) -> None:
    Tally(host.spool / "worker-0.tally").add(captured=3)
    (host.folder / "elsewhere").write_text("anything")
    (host.spool / "00001-worker-0.segment").hardlink_to(host.folder / "elsewhere")
    (host.spool / "00002-worker-0.segment").symlink_to("/nowhere")
    host.shipper.keep(RecordFolder(host.spool, "r0", SERVICE, "digits", "d", "r0"))
    host.shipper.pump([])
    assert host.server.reports[0].waiting == {}
    assert list((host.folder / "captured" / "ended").iterdir()) == []
    assert (host.folder / "elsewhere").read_text() == "anything"


def test_of_a_replica_that_never_recorded_nothing_is_left(host: Host) -> None:
    host.shipper.keep(RecordFolder(host.spool, "r0", SERVICE, "digits", "d", "r0"))
    ended = host.folder / "captured" / "ended"
    (ended / "r1.1").mkdir()  # an agent was killed before it could take anything over
    host.shipper.pump([])
    assert host.server.reports == []
    assert [path.name for path in ended.iterdir()] == ["r1.1"]


def test_counts_that_nobody_can_have_counted_are_not_told(host: Host) -> None:
    Tally(host.spool / "a.tally").add(captured=1 << 60)
    Tally(host.spool / "b.tally").add(captured=3)
    host.pump()
    assert [tally.captured for tally in host.server.reports[0].tallies] == [3]


def test_feedback_at_the_gateway_is_sealed_and_its_truths_are_no_requests(host: Host) -> None:
    folder = host.folder / "gateway" / str(SERVICE) / "feedback"
    known = KnownDeployment(service=SERVICE, service_name="digits", image="digits:1", model="m:1")
    deployments = host.folder / "captured" / "deployments.json"
    deployments.write_text(f'{{"d": {known.model_dump_json()}}}')
    host.again()
    spool = Spool(folder, "gateway-0")
    spool.add_encoded(frame(encode(Told(1, "a", 0, b"1", ""))), 1)
    host.shipper.pump([])
    (report,) = host.server.reports
    assert report.waiting == {SERVICE: 1}
    (tally,) = report.tallies
    assert (tally.service, tally.captured, tally.dropped) == (SERVICE, 0, 0)
    spool.close()
    host.server.is_away = True
    with pytest.raises(Unavailable):
        host.shipper.pump([])
    assert [name.partition("-")[2] for name in host.outbox if name.endswith("parquet")] == [
        f"gateway-0-feedback-{SERVICE.hex[:12]}-0.parquet"
    ]


def test_the_sealer_is_told_what_an_image_declares() -> None:
    kinds = dict.fromkeys(("age", "id", "mail"), ColumnType.BIGINT)
    deployment = make_deployment(columns=Columns(inputs=Declared(named=kinds)))
    capture = DesiredCapture(
        percent=100, space=1, when_full=WhenFull.DROP_NEW, hashed=("id",), encrypted=("mail",)
    )
    service = make_service(deployment, capture=capture)
    (known,) = deployments_of(
        DesiredState(agent="a", fence=1, generation=1, services=(service,))
    ).values()
    assert known.columns.inputs.named == {"age": "BIGINT", "id": "VARCHAR", "mail": "VARCHAR"}
