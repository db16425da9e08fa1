"""What the simulator offers: the flows that questions open, and the categories of their uploads."""

from __future__ import annotations

from pydantic import Field

from worker.simulator.parts import ScenarioPart

PICTURES = frozenset({"png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp"})
"""What the word `Image` of a parse method stands for."""

TEST_FLOW = "4cc96904-049f-11f0-80e7-0e8133e180cd"


class OfferedParseMethod(ScenarioPart):
    """One customized parse method, in the words of the wire."""

    file_format: str = ""
    parse_model: str = "text"
    parse_prompt: str = ""


class OfferedCategory(ScenarioPart):
    """One upload category, in the words of the wire."""

    id: int = Field(ge=0)
    name: str = Field(min_length=1)
    support_formats: str
    upload_max_num: int = Field(default=5, ge=0)
    variable_assign_enable: bool = True
    variable_assign: str = ""
    customized_parse_methods: tuple[OfferedParseMethod, ...] = (OfferedParseMethod(),)

    @property
    def variable(self) -> str:
        """What an upload's `extra_params` must say."""
        return self.variable_assign if self.variable_assign_enable else ""

    def takes(self, file_name: str) -> bool:
        """Whether the file's ending is among the formats; `text` and `txt` are the same."""
        offered = {_plain(word) for word in self.support_formats.split(",")}
        return _plain(file_name.rpartition(".")[2]) in offered

    def methods_for(self, file_name: str) -> tuple[OfferedParseMethod, ...]:
        """The parse methods that fit a file best: its own ending's, `Image`'s, or any format's."""
        ending = _plain(file_name.rpartition(".")[2])
        words = (ending, "image" if ending in PICTURES else None, "")
        fitting = (self._naming(word) for word in words if word is not None)
        return next((methods for methods in fitting if methods), ())

    def _naming(self, word: str) -> tuple[OfferedParseMethod, ...]:
        return tuple(
            method
            for method in self.customized_parse_methods
            if word in {_plain(part) for part in method.file_format.split(",")}
        )


def _plain(file_format: str) -> str:
    bare = file_format.strip().lstrip(".").lower()
    return "txt" if bare == "text" else bare


class Flow(ScenarioPart):
    """A chatflow: the questions that open it (none: any) and its categories (none: all)."""

    uuid: str = Field(default=TEST_FLOW, min_length=1)
    name: str = "file intake"
    questions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


CATEGORIES = (
    OfferedCategory(id=77, name="Audio test", support_formats="wav", variable_assign="test_vvv"),
    OfferedCategory(
        id=78,
        name="Document",
        support_formats="pdf, DOCX,.doc,text",
        variable_assign="document_text",
        customized_parse_methods=(
            OfferedParseMethod(parse_model="text"),
            OfferedParseMethod(
                file_format="pdf", parse_model="layout", parse_prompt="Keep the tables."
            ),
        ),
    ),
    OfferedCategory(
        id=79,
        name="Image",
        support_formats="png,jpg",
        upload_max_num=3,
        variable_assign="image_text",
        customized_parse_methods=(
            OfferedParseMethod(parse_model="vision", parse_prompt="Describe it."),
        ),
    ),
)
