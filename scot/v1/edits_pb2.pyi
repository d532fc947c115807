from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Caption(_message.Message):
    __slots__ = ("caption_id", "text")
    CAPTION_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    caption_id: str
    text: str
    def __init__(self, caption_id: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class GenerateEditsRequest(_message.Message):
    __slots__ = ("captions", "edits_per_caption", "seed")
    CAPTIONS_FIELD_NUMBER: _ClassVar[int]
    EDITS_PER_CAPTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    captions: _containers.RepeatedCompositeFieldContainer[Caption]
    edits_per_caption: int
    seed: int
    def __init__(self, captions: _Optional[_Iterable[_Union[Caption, _Mapping]]] = ..., edits_per_caption: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class EditRecord(_message.Message):
    __slots__ = ("aspect", "edit", "edited_caption", "kept")
    ASPECT_FIELD_NUMBER: _ClassVar[int]
    EDIT_FIELD_NUMBER: _ClassVar[int]
    EDITED_CAPTION_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    aspect: str
    edit: str
    edited_caption: str
    kept: str
    def __init__(self, aspect: _Optional[str] = ..., edit: _Optional[str] = ..., edited_caption: _Optional[str] = ..., kept: _Optional[str] = ...) -> None: ...

class CaptionEdits(_message.Message):
    __slots__ = ("caption_id", "edits", "refused", "prompt_tokens", "completion_tokens")
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CAPTION_ID_FIELD_NUMBER: _ClassVar[int]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    caption_id: str
    edits: _containers.RepeatedCompositeFieldContainer[EditRecord]
    refused: _containers.ScalarMap[str, int]
    prompt_tokens: int
    completion_tokens: int
    def __init__(self, caption_id: _Optional[str] = ..., edits: _Optional[_Iterable[_Union[EditRecord, _Mapping]]] = ..., refused: _Optional[_Mapping[str, int]] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ...) -> None: ...

class GenerateEditsResponse(_message.Message):
    __slots__ = ("results", "generator", "prompt_version")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    PROMPT_VERSION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CaptionEdits]
    generator: str
    prompt_version: str
    def __init__(self, results: _Optional[_Iterable[_Union[CaptionEdits, _Mapping]]] = ..., generator: _Optional[str] = ..., prompt_version: _Optional[str] = ...) -> None: ...
