"""Training data of the quality benchmark beside the captions: labelled triplets, and a part of the pictures."""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from scot.embeddings.cache import CacheInfo, TripletEmbeddings
from scot.embeddings.hidden_states import StateTable, starts
from scot.encoders import Encoder, state_encoder
from scot.errors import InvalidInput
from scot.worlds import WORLDS, load_world
from scot.worlds.gallery import Query, draw_all, evaluation_gallery

_AT_ONCE = 512


def on_pictures(data: TripletEmbeddings, count: int) -> TripletEmbeddings:
    """The triplets of ``count`` pictures, evenly over all of them; 0: all."""
    if not count:
        return data
    if count > len(data.image_ids):
        raise InvalidInput(f"there are {len(data.image_ids):,} pictures, not {count:,}")
    chosen_K = torch.linspace(0, len(data.image_ids) - 1, count).round().long()
    keep_N = torch.isin(data.image_N, chosen_K)
    rows = keep_N.nonzero()[:, 0].tolist()
    parts = {name: getattr(data, name)[keep_N] for name in ("image_N", "edit_N", "caption_N", "edited_N")}
    return dataclasses.replace(data, triplet_ids=[data.triplet_ids[row] for row in rows], **parts)


def labelled_triplets(count: int, encoder: Encoder, place: Path, seed: int) -> TripletEmbeddings:
    """``count`` triplets with their true target pictures, half of each world, as if people had labelled them.

    The vectors of the target pictures stand where those of edited captions do, and the reference's own picture where
    its caption does, so that one trainer serves both. Combinations of attributes are those of the training split.
    """
    references: list[int] = []
    targets: list[int] = []
    edits: list[str] = []
    ids: list[str] = []
    drawn = []
    for world in WORLDS:
        item_ids, queries, tensors = _drawn(world, count // len(WORLDS), encoder, place, seed)
        row = {item_id: len(ids) + n for n, item_id in enumerate(item_ids)}
        references += [row[query.reference_id] for query in queries]
        targets += [row[next(iter(query.targets))] for query in queries]
        edits += [query.edit for query in queries]
        ids += item_ids
        drawn.append(tensors)
    image_UD, values_TW, lengths_U = (
        torch.from_numpy(np.concatenate([tensors[name] for tensors in drawn]))
        for name in ("vectors", "states", "lengths")
    )
    image_UD = image_UD.half()
    texts = list(dict.fromkeys(edits))
    row_of = {text: n for n, text in enumerate(texts)}
    text_ED, edit_states = state_encoder(encoder).encode_texts_states(texts)
    text_VD = torch.cat([torch.from_numpy(text_ED).half(), image_UD])
    lengths_V = np.array([len(each) for each in edit_states] + [0] * len(ids))
    image_states = StateTable(values_TW, torch.from_numpy(starts(place, [lengths_U.numpy()], len(ids))))
    text_starts = torch.from_numpy(starts(place, [lengths_V], len(lengths_V)))
    text_states = StateTable(torch.from_numpy(np.concatenate(edit_states)), text_starts)
    reference_N = torch.tensor(references)
    widths = {"images": image_states.width, "texts": text_states.width}
    counts = {"images": len(ids), "texts": len(text_VD), "triplets": len(edits)}
    return TripletEmbeddings(
        info=CacheInfo(encoder.id, encoder.dim, "labelled", counts, {}, "labelled", states=widths),
        image_ids=ids,
        triplet_ids=[f"labelled-{n}" for n in range(len(edits))],
        image_UD=image_UD,
        text_VD=text_VD,
        image_N=reference_N,
        edit_N=torch.tensor([row_of[edit] for edit in edits]),
        caption_N=len(texts) + reference_N,
        edited_N=len(texts) + torch.tensor(targets),
        texts=texts + [f"picture {name}" for name in ids],
        image_states=image_states,
        text_states=text_states,
    )


def _drawn(
    world: str, count: int, encoder: Encoder, place: Path, seed: int
) -> tuple[list[str], tuple[Query, ...], dict[str, np.ndarray]]:
    """Clusters of six training pictures with three queries each, and what the encoder says of them, kept in ``place``.

    That is the pictures' vectors, and the references' hidden states, one after another, with how many each picture has.
    """
    drawn_world = load_world(world)
    gallery = evaluation_gallery(drawn_world, size=6 * -(-count // 3), queries=count, seed=seed, split="train")
    file = place / f"labelled-{world}-{count}-{seed}.safetensors"
    if not file.exists():
        print(f"drawing and encoding {len(gallery.items):,} pictures of {world}", flush=True)
        drawn = (picture for _, picture in draw_all(drawn_world, gallery.items, num_workers=2))
        references = {query.reference_id for query in gallery.queries}
        ids = iter([item.item_id for item in gallery.items])
        parts, states = [], []
        while batch := [encoder.preprocess(picture) for picture in islice(drawn, _AT_ONCE)]:
            vectors_BD, inside = state_encoder(encoder).encode_pixels_states(batch)
            parts.append(vectors_BD)
            states += [each if next(ids) in references else each[:0] for each in inside]
        lengths = np.array([len(each) for each in states])
        save_file({"vectors": np.concatenate(parts), "states": np.concatenate(states), "lengths": lengths}, file)
    return [item.item_id for item in gallery.items], gallery.queries, load_file(file)
