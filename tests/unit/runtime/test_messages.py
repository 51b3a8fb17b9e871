"""Headers, errors, and answers that come later."""

from __future__ import annotations

from tests.unit.runtime.replies import Expecting

from modelyard_runtime.http.messages import Headers, HttpError, Reply, Response, error_response


class TestHeaders:
    HEADERS = Headers([(b"accept", b"a"), (b"x", b"1"), (b"accept", b"b")])

    def test_get_gives_the_first(self) -> None:
        assert self.HEADERS.get(b"accept") == b"a"

    def test_get_gives_the_default(self) -> None:
        assert self.HEADERS.get(b"y") is None
        assert self.HEADERS.get(b"y", b"z") == b"z"

    def test_get_all_keeps_the_order(self) -> None:
        assert self.HEADERS.get_all(b"accept") == [b"a", b"b"]
        assert self.HEADERS.get_all(b"y") == []

    def test_iterates(self) -> None:
        assert len(self.HEADERS) == len(list(self.HEADERS)) == 3


class TestReply:
    def test_sends_to_whom_it_was_promised(self) -> None:
        reply, receiver = Reply(), Expecting()
        assert reply.promise_to(receiver) is None
        reply.send(Response(200))
        assert receiver.response == Response(200)
        assert reply.settled

    def test_that_came_early_is_handed_over(self) -> None:
        reply = Reply()
        reply.send(Response(200))
        assert reply.promise_to(Expecting()) == Response(200)

    def test_is_sent_once(self) -> None:
        reply, receiver = Reply(), Expecting()
        reply.promise_to(receiver)
        reply.send(Response(200))
        reply.send(Response(500))
        assert receiver.response == Response(200)

    def test_tells_that_nobody_waits_any_more(self) -> None:
        told = []

        class Told(Reply):
            def abandon(self) -> None:
                told.append((self.abandoned, self.settled))

        reply, receiver = Told(), Expecting()
        reply.promise_to(receiver)
        reply.forsake()
        reply.forsake()
        reply.send(Response(200))
        assert told == [(True, True)]
        assert receiver.response is None

    def test_that_was_sent_is_not_abandoned(self) -> None:
        reply = Reply()
        reply.send(Response(200))
        reply.forsake()
        assert not reply.abandoned


def test_error_is_a_json_message() -> None:
    response = error_response(404, 'no "x"')
    assert response == Response(
        404, b'{"message":"no \\"x\\""}', [(b"content-type", b"application/json")]
    )


def test_error_may_have_headers_of_its_own() -> None:
    response = HttpError(503, "busy", (b"retry-after", b"1")).response()
    assert response.headers == [(b"content-type", b"application/json"), (b"retry-after", b"1")]
