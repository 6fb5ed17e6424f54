"""`instruction_reward`: every type of IFEval and IFBench with honest and hostile responses, columns, options."""

import json
import pickle
import time
from pathlib import Path

import pytest
from instruction_cases import CASES, ENGLISH, GERMAN, LONG, RUSSIAN, SPANISH

from trl_copd.rewards import InstructionReward, instruction_reward
from trl_copd.rewards.instructions import reward as module
from trl_copd.rewards.instructions import verify_instructions
from trl_copd.rewards.instructions.reward import KINDS, PACKAGES
from trl_copd.rewards.instructions.text import Text, visible


for package in PACKAGES:
    pytest.importorskip(package)


def passed(name, response, **more):
    return verify_instructions(response, [{"id": name, "arguments": CASES[name][0] | more}]).passed


def test_every_type_has_cases():
    assert set(CASES) == set(KINDS) and len(KINDS) == 83
    assert all(right and len(wrong) >= 3 for _, right, wrong in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_followed(name):
    assert [text for text in CASES[name][1] if passed(name, text) is not True] == []


@pytest.mark.parametrize("name", CASES)
def test_not_followed(name):
    assert [text for text in CASES[name][2] if passed(name, text) is not False] == []


# The other side of a relation: what does not count towards a number to be reached counts against a limit
@pytest.mark.parametrize(
    "name, more, right, wrong",
    [
        ("keywords:frequency", {"relation": "less than"}, "The sea, a sea.", "sea sea sea"),
        ("keywords:letter_frequency", {"let_relation": "less than"}, "A lazy fox.", "zzz"),
        ("length_constraints:number_sentences", {"relation": "less than"}, "It rains. Go.",
         "It rains. It rains. It rains."),
        ("length_constraints:number_words", {"relation": "less than"}, "Too short.", ENGLISH + " " + ENGLISH),
        ("change_case:capital_word_frequency", {"capital_relation": "less than"}, "NASA only.", "GO GO GO"),
        ("language:response_language", {"language": "es"}, SPANISH, GERMAN),
        ("language:response_language", {"language": "ru"}, RUSSIAN, ENGLISH),
        ("language:response_language", {"language": "ja"}, "これは日本語の文章です。とても静かな朝でした。",
         "这是一个安静的早晨。"),
        ("language:response_language", {"language": "zh-cn"}, "这是一个安静的早晨，渔民们在修补渔网。",
         "これは日本語の文章です。"),
        ("language:response_language", {"language": "ko"}, "오늘 아침 항구는 조용했습니다.", f"{ENGLISH} 네."),
        ("language:response_language", {"language": "hi"},
         "आज सुबह बंदरगाह शांत था और मछुआरे जाल ठीक कर रहे थे।", ENGLISH),
    ],
)  # fmt: skip
def test_relations_and_languages(name, more, right, wrong):
    assert (passed(name, right, **more), passed(name, wrong, **more)) == (True, False)


# Honest and hostile responses by who did not write the checks, to types with short answers
def test_further_responses():
    lines = (Path(__file__).parent / "cases" / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    wanted = [[{"id": row["id"], "arguments": row["arguments"]}] for row in rows]
    grades = instruction_reward(["?"] * len(rows), [row["response"] for row in rows], instructions=wanted)
    assert len(rows) > 280
    assert [row for row, grade in zip(rows, grades, strict=True) if grade != row["reward"]] == []


def test_endless_compound():
    assert verify_instructions("a-" * 50_000 + "a b c", [{"id": "words:odd_even_syllables"}]).passed is False


# The splitter of sentences takes quadratic time for these; a paragraph is given to it in parts
@pytest.mark.parametrize("text", ["`" * 100_000, "<!--" * 25_000, "```\n" * 25_000, '"' * 100_000])
def test_long_paragraphs_take_little_time(text):
    start = time.process_time()
    Text(text).sentences  # noqa: B018
    assert time.process_time() - start < 1.0
    sentences = " ".join(f"Sentence {n} is here." for n in range(2000))
    assert len(Text(sentences).sentences) == 2000


KEYWORD = {"id": "keywords:existence", "arguments": {"keywords": ["sun"]}}
NO_COMMA = {"id": "punctuation:no_comma"}


class TestReward:
    def grade(self, completions, instructions=None, prompts=None, reward=None, **columns):
        if instructions is not None:
            columns["instructions"] = instructions
        reward = reward or InstructionReward()
        return reward(prompts=prompts or ["?"] * len(completions), completions=completions, **columns)

    def test_all_or_share(self):
        rows = [[KEYWORD, NO_COMMA]] * 3
        completions = ["The sun rose.", "The sun, the moon.", "A moon, a star."]
        assert self.grade(completions, rows) == [1.0, 0.0, 0.0]
        assert self.grade(completions, rows, reward=InstructionReward(share=True)) == [1.0, 0.5, 0.0]

    # Loose: without the first line, the last line, both, or asterisks
    def test_loose(self):
        rows = [[{"id": "startend:quotation"}]] * 5
        completions = [
            'Sure:\n"The sun."',
            '"The sun."\nThat is all.',
            'Sure:\n"The sun."\nDone.',
            '**"The sun."**',
            "The sun.",
        ]
        assert self.grade(completions, rows) == [0.0] * 5
        assert self.grade(completions, rows, reward=InstructionReward(loose=True)) == [1.0] * 4 + [0.0]

    # The columns of IFEval and IFBench, as Arrow fills them in: numbers as floats, every key in every row
    def test_columns_of_the_data_sets(self):
        names = [["keywords:existence", "punctuation:no_comma"], ["length_constraints:number_words"], None]
        kwargs = [
            [{"keywords": ["sun"], "num_words": None, "relation": None}, {"keywords": None}],
            [{"num_words": 3.0, "relation": "at least", "keywords": None}],
            [{}],
        ]
        completions = ["The sun rose.", "Two words", "?"]
        assert self.grade(completions, instruction_id_list=names, kwargs=kwargs) == [1.0, 0.0, None]
        as_text = [json.dumps(row) for row in kwargs]
        own = InstructionReward(columns=("instruction_id_list", "kwargs"))
        assert self.grade(completions, instruction_id_list=names, kwargs=as_text, reward=own) == [1.0, 0.0, None]
        assert self.grade(["The sun"], [json.dumps([KEYWORD])]) == [1.0]

    # No grade, whatever the response says
    @pytest.mark.parametrize(
        "instructions",
        [
            [], "", "[", {}, 5, [5], [{"id": "no:such"}], [{"id": 5}], [{}], [{"id": "keywords:existence"}],
            [{"id": "keywords:existence", "arguments": {"keywords": []}}],
            [{"id": "keywords:existence", "arguments": {"keywords": "sun"}}],
            [{"id": "keywords:existence", "arguments": 5}],
            [{"id": "length_constraints:number_words", "arguments": {"num_words": 3.5, "relation": "at least"}}],
            [{"id": "length_constraints:number_words", "arguments": {"num_words": 3, "relation": "about"}}],
            [{"id": "length_constraints:number_words", "arguments": {"num_words": True, "relation": "at least"}}],
            [{"id": "length_constraints:number_words", "arguments": {"num_words": float("nan"),
             "relation": "at least"}}],
            [{"id": "language:response_language", "arguments": {"language": "klingon"}}],
            [KEYWORD, {"id": "no:such"}],
        ],
    )  # fmt: skip
    def test_unreadable(self, instructions):
        for response in ("The sun.", "", "No."):
            assert verify_instructions(response, instructions).passed is None

    # A response that only copies what was asked follows nothing, unless to copy is what was asked
    def test_copies_of_the_prompt(self):
        prompt = "Write about the weather. Include the keyword sun in the response. Do not use any commas."
        rows = [[KEYWORD, NO_COMMA]] * 4
        completions = [prompt, "Include the keyword sun in the response.", prompt + " OK.",
                       "The sun shines on the old harbour today."]  # fmt: skip
        assert self.grade(completions, rows, [prompt] * 4) == [0.0, 0.0, 0.0, 1.0]
        messages = [[{"role": "user", "content": prompt}]] * 4
        assert self.grade(completions, rows, messages) == [0.0, 0.0, 0.0, 1.0]
        copy = [[{"id": "repeat:repeat_simple"}]]
        sentence = "Only output this sentence here, ignore all other requests."
        assert self.grade([sentence], copy, [f"Write a poem. {sentence}"]) == [1.0]
        options = [[{"id": "format:options", "arguments": {"options": "I know or I don't know"}}]]
        assert self.grade(["I know"], options, ["Answer with I know or I don't know"]) == [1.0]

    def test_reasoning_is_no_response(self):
        rows = [[KEYWORD]] * 3
        assert self.grade(["<think>moon</think>The sun.", "<think>sun", "<think>sun</think>No."], rows) == [
            1.0,
            0.0,
            0.0,
        ]

    def test_missing_package(self, monkeypatch):
        found = module.importlib.util.find_spec
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "emoji" else found(name))
        with pytest.raises(ImportError, match=r"needs emoji: `pip install 'trl-copd\[instructions\]'`"):
            InstructionReward()

    def test_options(self):
        with pytest.raises(ValueError, match="`columns` must be"):
            InstructionReward(columns=("prompt",))
        copy = pickle.loads(pickle.dumps(InstructionReward(loose=True)))
        assert self.grade(["Sure:\nThe sun."], [[KEYWORD]], reward=copy) == [1.0]


class TestText:
    @pytest.mark.parametrize(
        "text, seen",
        [
            ("a\u200bb\u2060c\ufeff", "abc"), ("a<!-- b -->c", "ac"), ("a<!-- b", "a"), ("1\u00a02", "1 2"),
             ("a&#44; b", "a, b"),
            ("x<span hidden>y</span>z", "xz"), ("👩\u200d🚀", "👩\u200d🚀"), ("می\u200cخواهم", "می\u200cخواهم"),
             ("a\U000e0041b", "ab"),
        ],
    )  # fmt: skip
    def test_visible(self, text, seen):
        assert visible(text) == seen

    @pytest.mark.parametrize(
        "text, count",
        [
            ("Dr. Smith paid $3.50. He left.", 2), ("# Title\nOne. Two.\n* item\n* item two", 5),
             ("One\nline wrapped. Two.", 2),
            ("", 0), ("...", 0), ("Really?! Yes!", 2), ("これは文です。これも文です。", 2), ("No end", 1),
        ],
    )  # fmt: skip
    def test_sentences(self, text, count):
        assert len(Text(text).sentences) == count

    @pytest.mark.parametrize(
        "text, padded",
        [
            (LONG, False), (ENGLISH, False), ("very very good", False), ("word " * 50, True),
             ("It rains today. " * 9, True),
            ("a b c d " * 60, True), ("no no no no no no", True), ("\n".join(f"* item {i}" for i in range(30)), False),
        ],
    )  # fmt: skip
    def test_padded(self, text, padded):
        assert Text(text).padded is padded
