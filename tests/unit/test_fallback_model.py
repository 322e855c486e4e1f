import pytest

from caxton_node.domain.errors import Denied, Failed, TimedOut
from caxton_node.llm.fallback import FallbackModel
from caxton_node.llm.model import ModelReply, ModelRequest
from caxton_node.llm.offline.provider import OfflineModel
from caxton_node.llm.scripted import ScriptedModel

REQUEST = ModelRequest(messages=(), timeout_s=60.0, model="first")
BROKEN = Failed("model_failed", "It is down.")


def chain(*scripts, time_s=None):
    models = [(f"m{index}", ScriptedModel(script)) for index, script in enumerate(scripts)]
    return FallbackModel(models, time_s=time_s or (lambda: 0.0))


async def test_the_first_model_answers_if_it_can():
    reply = await chain(["one"], ["two"]).complete(REQUEST)
    assert reply.text == "one"
    assert "fallback_from" not in reply.metadata


async def test_the_next_model_answers_and_the_reply_says_who_failed():
    late = TimedOut("timed_out", "It was slow.")
    reply = await chain([BROKEN], [late], ["three"]).complete(REQUEST)
    assert reply.text == "three"
    assert reply.metadata["fallback_from"] == [
        {"provider": "scripted", "model": "m0", "error": "model_failed", "detail": "It is down."},
        {"provider": "scripted", "model": "m1", "error": "timed_out", "detail": "It was slow."},
    ]


async def test_metadata_of_the_reply_are_kept():
    reply = await chain([BROKEN], [ModelReply(metadata={"refusal": True})]).complete(REQUEST)
    assert reply.metadata["refusal"] is True


async def test_when_all_fail_the_last_error_tells_of_the_others():
    with pytest.raises(Failed, match="Also down") as caught:
        await chain([BROKEN], [Failed("model_failed", "Also down.")]).complete(REQUEST)
    assert [row["model"] for row in caught.value.facts["fallback_from"]] == ["m0"]


async def test_an_error_that_is_no_models_fault_is_not_masked():
    with pytest.raises(Denied):
        await chain([Denied("denied", "no")], ["two"]).complete(REQUEST)


async def test_there_is_no_fallback_once_text_was_shown():
    class Breaking(ScriptedModel):
        async def complete(self, request, on_delta=None):
            on_delta("The beg")
            raise BROKEN

    second = ScriptedModel(["two"])
    model = FallbackModel([("a", Breaking([])), ("b", second)], time_s=lambda: 0.0)
    with pytest.raises(Failed):
        await model.complete(REQUEST, lambda _: None)
    assert second.requests == ()


async def test_the_time_is_shared_so_that_a_model_which_hangs_leaves_some():
    now = 0.0

    def slow(_):
        nonlocal now
        now += 20.0
        return BROKEN

    first, second, third = ScriptedModel(slow), ScriptedModel(slow), ScriptedModel(["x"])
    model = FallbackModel([("a", first), ("b", second), ("c", third)], time_s=lambda: now)
    await model.complete(REQUEST)
    asked = [one.requests[0].timeout_s for one in (first, second, third)]
    assert asked == [20.0, 20.0, 20.0]


async def test_the_offline_provider_takes_no_share_of_the_time():
    first = ScriptedModel([BROKEN])
    model = FallbackModel([("a", first), ("none", OfflineModel())], time_s=lambda: 0.0)
    reply = await model.complete(REQUEST)
    assert first.requests[0].timeout_s == 60.0
    assert reply.metadata["offline"] is True


async def test_a_model_named_by_the_request_is_meant_for_the_first_only():
    first, second = ScriptedModel([BROKEN]), ScriptedModel(["x"])
    await FallbackModel([("a", first), ("b", second)], time_s=lambda: 0.0).complete(REQUEST)
    assert (first.requests[0].model, second.requests[0].model) == ("first", None)


async def test_closing_closes_all_even_when_one_fails():
    closed = []

    class Closing(ScriptedModel):
        async def close(self):
            closed.append(self)
            raise OSError("no")

    model = FallbackModel([("a", Closing([])), ("b", Closing([]))])
    with pytest.raises(ExceptionGroup):
        await model.close()
    assert len(closed) == 2
