# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels, each with the arguments that it is compiled for in test_triton.py."""

from __future__ import annotations

from typing import Any, NamedTuple

# Types of arguments that have the same name in several kernels; sizes are not specialized.
SIZES = ("height", "layers", "width", "h", "w", "max_rows", "max_columns", "tiles", "cells", "views", "sets", "words")
OF_CLOUDS = ("first_group", "of_cloud", "of_group")
COUNTS = ("n", "min_valid", "max_masked", "groups", "halves", "points", "num_rows", "mask_rows", "entries", "all_cells")
SORTED = ("keys", "floors", "index", "order", "starts", "offsets")
TYPES = {
    **dict.fromkeys((*SIZES, *OF_CLOUDS, "num_a", "num_b", "view_batch", "first_view"), "i32"),
    **dict.fromkeys(COUNTS, "i64"),
    **dict.fromkeys(("extent", "min_extent", "radius", "band", "near"), "fp32"),
    **dict.fromkeys(("mask", "valid"), "*u8"),
    **dict.fromkeys(("group", "a", "b", "size_a", "size_b", "counts", *SORTED), "*i64"),
    **dict.fromkeys(("bits", "pairs"), "*i32"),
}
CACHE_TYPES = {
    **dict.fromkeys(("rows", "slots", "stamp", "num_below"), "i64"),
    **dict.fromkeys(("inverse_size", "default_footprint", "factor"), "fp32"),
    **dict.fromkeys(("codes", "points", "rank", "key", "keys", "stamp_rows", "index"), "*i64"),
    **dict.fromkeys(
        ("is_start", "position", "order", "starts", "row", "winner", "is_new", "new_count", "count", "table"), "*i32"
    ),
    "keep": "*u8",
    "rejected_from": "i32",
}


class Kernel(NamedTuple):
    """A kernel and the arguments it is compiled for."""

    operation: str
    name: str
    constants: dict[str, Any]
    types: dict[str, str] = {}  # others are float32 pointers  # noqa: RUF012
    aligned: tuple[str, ...] = ()  # sizes that divide by 16
    warps: int = 4
    folder: str = ""  # where it is not the operation's name


def lift(pooling: int, fits: bool, **constants: Any) -> Kernel:
    return Kernel("unproject", "unproject_lift_kernel", {"POOLING": pooling, "FITS": fits, **constants}, warps=1)


def backward(pooling: int) -> Kernel:
    return Kernel("unproject", "unproject_backward_kernel", {"POOLING": pooling, "FITS": True}, warps=1)


def features(dtype: str, to_maps: bool, *aligned: str) -> Kernel:
    constants = {"CHANNELS": 48, "BLOCK": 64, "TO_MAPS": to_maps}
    return Kernel("unproject", "unproject_features_kernel", constants, {"maps": dtype, "rows": dtype}, aligned)


def cache(name: str, warps: int = 4, *aligned: str, types: dict[str, str] | None = None, **constants: Any) -> Kernel:
    return Kernel("voxel_cache", f"voxel_cache_{name}_kernel", constants, CACHE_TYPES | (types or {}), aligned, warps)


def cache_features(name: str, warps: int, dtype: str, kept: str, *aligned: str, **constants: Any) -> Kernel:
    types = {"features": dtype, "out": kept, "counts": "*i32"}
    return cache(name, warps, *aligned, types=types, CHANNELS=48, BLOCK=64, **constants)


def rasterize(shape: int, **constants: Any) -> Kernel:
    constants = {"SHAPE": shape, "floors": None, **constants}
    return Kernel("splat", "splat_rasterize_kernel", {k: v for k, v in constants.items() if v != "given"}, warps=1)


def blended(part: str, name: str, *of_dtype: str, aligned: tuple[str, ...] = (), **constants: Any) -> Kernel:
    """A kernel of splat_bilinear or one that has rows of features."""
    types = dict.fromkeys(of_dtype, "*bf16")
    return Kernel(part, name, constants, types, aligned, folder="splat")


ROWS: dict[str, Any] = {"CHANNELS": 48, "BLOCK": 64}
BACKWARD = "splat_bilinear_backward"
FRONT = {"nearest": "*i32", "front": "*u8", "far": "fp32", "tolerance": "fp32"}
ASSOCIATED = dict.fromkeys(("tolerance", "beyond", "far_beyond", "closer"), "fp32") | {
    **dict.fromkeys(("rows", "frames"), "i32"),
    **{"index": "*i64", "code": "*u8"},
}
QUANTIZED = {"steps": "*i8", "m": "i64", "stride": "i64"}
BLENDED = {"min_weight": "fp32"}
PLACED = {"cell_of_tap": "*i64", "center": "fp32"}


def resolve(word: str, **constants: Any) -> Kernel:
    types = {"rows": word, "features": word}
    return Kernel("splat", "splat_resolve_kernel", {**ROWS, **constants}, types, ("cells",))


KERNELS = {
    "lift_median": lift(0, True),
    "lift_median_of_large_cells": lift(0, False, mask=None),
    "lift_bilinear": lift(3, True),
    "backward_median": backward(0),
    "backward_bilinear": backward(3),
    "gather": Kernel("unproject", "unproject_gather_kernel", {}),
    "features_float32": features("*fp32", False, "cells"),
    "features_bfloat16": features("*bf16", False, "cells"),
    "features_back": features("*bf16", True, "cells"),
    "features_unaligned": features("*bf16", False),
    "visible": Kernel("overlap", "overlap_visible_kernel", {"valid": None, "group": None}),
    "visible_groups": Kernel("overlap", "overlap_visible_kernel", {}),
    "project": Kernel("project", "project_points_kernel", {}, {"seen": "*u8", "of_view": "i64"}),
    "count": Kernel("overlap", "overlap_count_bits_kernel", {}, aligned=("words",)),
    "rasterize_points": rasterize(0, valid=None, extents=None, offsets=None),
    "rasterize_points_of_clouds": rasterize(0, extents=None),
    "rasterize_squares": rasterize(1, offsets=None),
    "rasterize_squares_of_clouds": rasterize(1),
    "rasterize_discs": rasterize(2, extents=None, offsets=None),
    "rasterize_own_discs": rasterize(3),
    "rasterize_layer": rasterize(0, valid=None, extents=None, offsets=None, floors="given"),
    "rasterize_layer_of_discs": rasterize(2, extents=None, offsets=None, floors="given"),
    "rasterize_layer_of_own_discs": rasterize(3, offsets=None, floors="given"),
    "resolve_float32": resolve("*i32", offsets=None),
    "resolve_bfloat16": resolve("*i16", offsets=None),
    "resolve_clouds": resolve("*i16"),
    "backward_features": blended("splat_backward", "splat_backward_features_kernel", "grad", "sums", **ROWS),
    "backward_xyz": blended("splat_backward", "splat_backward_xyz_kernel"),
    "bilinear_rasterize": blended("splat_bilinear", "splat_bilinear_rasterize_kernel", valid=None),
    "bilinear_pairs": blended("splat_bilinear", "splat_bilinear_pairs_kernel"),
    "bilinear_blend": blended(
        "splat_bilinear", "splat_bilinear_blend_kernel", "rows", "features", aligned=("cells",), **ROWS
    ),
    "bilinear_backward_features": blended(BACKWARD, "splat_bilinear_backward_features_kernel", "grad", "sums", **ROWS),
    "bilinear_backward_xyz": blended(BACKWARD, "splat_bilinear_backward_xyz_kernel", "grad", "maps", "rows", **ROWS),
    "layers_resolve": blended("splat_layers", "splat_layers_resolve_kernel"),
    "layers_backward_xyz": blended("splat_layers", "splat_layers_backward_xyz_kernel"),
    **{
        f"composite_{mode}": blended(
            "splat_composite", "splat_composite_kernel", "features", "out", aligned=("cells",), MODE=mode, **ROWS
        )
        for mode in (0, 1, 2)
    },
    **{
        f"frontmost_{'test' if test else 'enter'}": Kernel(
            "splat_frontmost", "splat_frontmost_kernel", {"CUT_OFF": test, "TEST": test, **mask}, FRONT, folder="splat"
        )
        for test, mask in ((False, {}), (True, {"valid": None}))
    },
    "associate": Kernel("associate", "associate_points_kernel", {}, ASSOCIATED),
    **{
        f"quantize_{dtype[1:]}": Kernel("quantize", "quantize_rows_kernel", {}, QUANTIZED | {"values": dtype})
        for dtype in ("*fp32", "*bf16", "*fp16")
    },
    "offsets": Kernel("splat_blend", "splat_offsets_kernel", {}, folder="splat"),
    **{
        f"blend_{dtype[1:]}": Kernel(
            "splat_blend",
            "splat_blend_kernel",
            {"CHANNELS": 48, "BLOCK": 16},
            BLENDED | {"features": dtype, "out": dtype},
            folder="splat",
        )
        for dtype in ("*fp32", "*bf16")
    },
    "sum_place": Kernel("splat_sum", "splat_sum_place_kernel", {}, PLACED, folder="splat"),
    "sum_place_all_alike": Kernel("splat_sum", "splat_sum_place_kernel", {"weights": None}, PLACED, folder="splat"),
    "sum_taps": Kernel(
        "splat_sum", "splat_sum_taps_kernel", {}, {"channels": "i32", "num_cells": "i32"}, folder="splat"
    ),
    "composite_scales": blended("splat_composite", "splat_composite_scales_kernel", MODE=0),
    "composite_scales_normalized": blended("splat_composite", "splat_composite_scales_kernel", MODE=2),
    "composite_backward_features": blended(
        "splat_composite", "splat_composite_backward_features_kernel", "grad", "sums", **ROWS
    ),
    "composite_products": blended(
        "splat_composite", "splat_composite_products_kernel", "grad", "features", CHANNELS=48
    ),
    **{
        f"composite_backward_weights_{mode}": blended(
            "splat_composite", "splat_composite_backward_weights_kernel", MODE=mode
        )
        for mode in (0, 1, 2)
    },
    "overlap": Kernel("overlap", "overlap_iou_kernel", {}, aligned=("words",)),
    "cache_encode": cache("encode", CHANNELS=48, BLOCK=64),
    "cache_find_starts": cache("find_starts"),
    "cache_segment": cache("segment", LAST=False),
    "cache_segment_last": cache("segment", LAST=True, rank=None),
    "cache_look_up": cache("look_up", 1, LAST=False),
    "cache_look_up_all_alike": cache("look_up", 1, LAST=False, footprint=None, rank=None),
    "cache_number": cache("number"),
    "cache_write": cache("write", count=None),
    "cache_write_mean": cache("write", footprint=None),
    "cache_copy_float32": cache_features("copy", 4, "*fp32", "*fp32"),
    "cache_copy_bfloat16": cache_features("copy", 4, "*bf16", "*bf16"),
    "cache_quantize": cache_features("quantize", 1, "*bf16", "*i8"),
    "cache_sum": cache_features("sum", 1, "*bf16", "*fp32"),
    "cache_enter": cache("enter", 1, types={"table": "*u32"}),
    "cache_enter_all": cache("enter", 1, types={"table": "*u32"}, row=None),
    "cache_build_boxes": cache("build_boxes", 1),
    "cache_build_level": cache("build_level", 1),
    "cache_carve": cache("carve"),
    "cache_decode_int8": cache_features("decode", 4, "*i8", "*bf16", "cells", counts=None),
    "cache_decode_mean": cache_features("decode", 4, "*fp32", "*fp16", "cells", scales=None),
}
