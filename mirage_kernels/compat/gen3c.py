# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for GEN3C (nv-tlabs/GEN3C), whose ``forward_warp`` Lyra and TrajectoryCrafter use too.

Two lines, after which the cache runs unchanged::

    from cosmos_predict1.diffusion.inference import cache_3d
    from mirage_kernels.compat import gen3c

    gen3c.patch(cache_3d)

or, for the function alone, ``from mirage_kernels.compat.gen3c import forward_warp``.

**Faster**: warps and renderings of the cache, which copies no image or cloud per target view.

**As the original**: transformations are world-to-camera, pixel centers have integer coordinates, and 1e-7 is added to
the depth that divides. A pixel's weight is bilinear, times its mask, over ``exp(50 log1p(z) / max log1p(z)) + 1e-7``,
with the maximum over all pixels of the call, behind the camera or not (of 32 warps in ``render_cache``). A pixel that
is projected to an exact integer column counts twice there, and four times if the row is an integer too. Holes are -1 in
images and 0 elsewhere.

**Differs**: everything is computed in float32 and rounded once to the dtype of the frame. There are no gradients. Sums
have the order of the pixels, so that results repeat bit for bit. As in the original, a pixel that misses an integer
coordinate by a rounding error also fills the next cell, if nothing else does; which pixels those are depends on every
rounding, and differs. Filtering by normals or camera rays, and ``foreground_masking``, which needs NVIDIA Warp, are
left to the original after :func:`patch`, and are errors without.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import check

from . import _bilinear_warp as warp
from ._modes import without_gradients

_WARPS_AT_ONCE = 32  # of render_cache, which weights them by their common maximum


@without_gradients
def forward_warp(
    frame1: Tensor,
    mask1: Tensor | None,
    depth1: Tensor | None,
    transformation1: Tensor | None,
    transformation2: Tensor,
    intrinsic1: Tensor | None,
    intrinsic2: Tensor | None,
    is_image: bool = True,
    conditioned_normal1: Tensor | None = None,
    cameraray_filtering: bool = False,
    is_depth: bool = True,
    render_depth: bool = False,
    world_points1: Tensor | None = None,
    foreground_masking: bool = False,
    boundary_mask: Tensor | None = None,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Warp frames to other cameras, by splatting every pixel bilinearly.

    Args:
        frame1: (b, c, h, w) floating point.
        mask1: (b, 1, h, w), weights of the pixels, 0 = unknown; None for ones.
        depth1: (b, 1, h, w), z-depth, or the length of the ray if not ``is_depth``; NaN is 1e4. None if there are
            ``world_points1``.
        transformation1: (b, 4, 4), world-to-camera, of the frames; with ``depth1``.
        transformation2: (b, 4, 4), world-to-camera, of the targets.
        intrinsic1: (b, 3, 3), of the frames; with ``depth1``.
        intrinsic2: (b, 3, 3), of the targets; None for ``intrinsic1``.
        is_image: whether values are -1 to 1: results are clamped, and holes are -1.
        conditioned_normal1, cameraray_filtering, foreground_masking, boundary_mask: not supported.
        is_depth: see ``depth1``.
        render_depth: whether to return the depth.
        world_points1: (b, h, w, 3), the points of the pixels, instead of ``depth1``.

    Returns:
        The frames (b, c, h, w), masks (b, 1, h, w) with 0 in holes, both in the dtype of ``frame1``; depth (b, h, w),
        or None; and the flow (b, 2, h, w) in pixels.

    Raises:
        TypeError, ValueError: an argument has another type or shape.
        NotImplementedError: an argument is not supported.

    Example:
        >>> import torch
        >>> from mirage_kernels.compat.gen3c import forward_warp
        >>> frame, depth, pose = torch.rand(1, 3, 4, 6), torch.full((1, 1, 4, 6), 2.0), torch.eye(4)[None]
        >>> K = torch.tensor([[[4.0, 0, 3], [0, 4, 2], [0, 0, 1]]])
        >>> moved = pose.clone()
        >>> moved[0, 0, 3] = 0.5  # the camera moves to the left, by one pixel at this depth
        >>> image, mask, _, flow = forward_warp(frame, None, depth, pose, moved, K, K)
        >>> torch.allclose(image[..., 1:], frame[..., :-1]), mask[0, 0, 0].tolist()
        (True, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """
    unsupported = {
        "conditioned_normal1": conditioned_normal1 is not None,
        "cameraray_filtering": cameraray_filtering,
        "foreground_masking": foreground_masking,
    }
    for name, given in unsupported.items():
        if given:
            raise NotImplementedError(f"{name}: only the original has it; gen3c.patch(module) leaves such calls to it")
    if intrinsic2 is None:
        intrinsic2 = intrinsic1
    dims, like = _check_frames(frame1, mask1, transformation2, intrinsic2), ("frame1", frame1)
    if depth1 is None:
        check.tensor("world_points1", world_points1, ("b", "h", "w", 3), dims, _FLOATS, like)
        projections = [
            warp.world_projection(points, matrix)
            for points, matrix in zip(world_points1, warp.matrices(intrinsic2, transformation2), strict=True)  # type: ignore[arg-type]
        ]
    else:
        check.tensor("depth1", depth1, ("b", 1, "h", "w"), dims, _FLOATS, like)
        check.tensor("transformation1", transformation1, ("b", 4, 4), dims, _FLOATS, like)
        check.tensor("intrinsic1", intrinsic1, ("b", 3, 3), dims, _FLOATS, like)
        if not is_depth:
            depth1 = warp.z_depth(depth1, intrinsic1)  # type: ignore[arg-type]
        turns = warp.relative_matrices(transformation1, transformation2, intrinsic1, intrinsic2)  # type: ignore[arg-type]
        projections = [warp.depth_projection(*one) for one in zip(depth1[:, 0], *turns, strict=True)]
    scale = warp.depth_scale(projections, dims["h"], dims["w"])
    out = warp.Warped.empty(frame1.shape, frame1.device, depth=render_depth)
    for i, (frame, project) in enumerate(zip(frame1, projections, strict=True)):
        warp.splat_frame(frame, None if mask1 is None else mask1[i, 0], project, scale, is_image, out.of(i))
    image, mask, depth, flow = (None if x is None else x.to(frame1.dtype) for x in out)
    return image, mask, depth, flow  # type: ignore[return-value]


_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _check_frames(frame: Any, mask: Any, transformation: Any, intrinsic: Any) -> check.Dims:
    dims: check.Dims = {}
    check.tensor("frame1", frame, ("b", "c", "h", "w"), dims, _FLOATS)
    like = ("frame1", frame)
    if mask is not None:
        check.tensor("mask1", mask, ("b", 1, "h", "w"), dims, (*_FLOATS, torch.bool), like)
    check.tensor("transformation2", transformation, ("b", 4, 4), dims, _FLOATS, like)
    check.tensor("intrinsic2", intrinsic, ("b", 3, 3), dims, _FLOATS, like)
    if dims["b"] * dims["h"] * dims["w"] == 0:
        raise check.value_error("frame1", "at least one pixel", tuple(frame.shape))
    return dims


@without_gradients
def render_cache(
    self: Any, target_w2cs: Tensor, target_intrinsics: Tensor, render_depth: bool = False, start_frame_idx: int = 0
) -> tuple[Tensor, Tensor]:
    """Render a cache: the method of ``Cache3D_Base`` that :func:`patch` sets.

    Args:
        self: the cache, with ``input_image`` (B, F, N, 1, C, H, W), ``input_points`` (B, F, N, 1, H, W, 3),
            ``input_mask`` (B, F, N, 1, 1, H, W) or None, and ``device``.
        target_w2cs: (B, T, 4, 4), world-to-camera.
        target_intrinsics: (B, T, 3, 3).
        render_depth: whether to return the depth instead of the image.
        start_frame_idx: first of the T frames of the cache to use; a single frame is used for all T.

    Returns:
        Images (B, T, N, C, H, W), or depth (B, T, N, H, W), and masks (B, T, N, 1, H, W), 0 in holes.

    Raises:
        TypeError, ValueError: an argument has another type or shape, the cache has several frames but not T from
            ``start_frame_idx`` on, or several views to merge.
        NotImplementedError: the cache masks the foreground.
    """
    images = self.input_image
    dims: check.Dims = {"B": images.shape[0]}
    check.tensor("target_w2cs", target_w2cs, ("B", "T", 4, 4), dims, _FLOATS)
    check.tensor("target_intrinsics", target_intrinsics, ("B", "T", 3, 3), dims, _FLOATS, ("target_w2cs", target_w2cs))
    (b, t), (frames, n, views) = target_w2cs.shape[:2], images.shape[1:4]
    start_frame_idx = check.integer("start_frame_idx", start_frame_idx, 0, max(0, frames - t) if frames > 1 else None)
    if 1 < frames < t:
        raise check.value_error("target_w2cs", f"(B={b}, T, 4, 4) with T up to the {frames} frames of the cache",
                                tuple(target_w2cs.shape))  # fmt: skip
    if views != 1:
        raise check.value_error("input_image", "(B, F, N, 1, C, H, W)", tuple(images.shape))
    if self.foreground_masking:
        raise NotImplementedError("foreground_masking: only the original has it")
    # Of every warp, in the order of the result: its target and its place in the cache.
    order = [(i, k, min(start_frame_idx + k, frames - 1) if frames > 1 else 0, j)
             for i in range(b) for k in range(t) for j in range(n)]  # fmt: skip
    matrices = warp.matrices(target_intrinsics.flatten(0, 1), target_w2cs.flatten(0, 1)).reshape(b, t, 3, 4)
    matrices = matrices.to(self.device)
    shape = (len(order), *images.shape[4:])
    out = warp.Warped.empty(shape, matrices.device, depth=render_depth, flow=False)
    for start in range(0, len(order), _WARPS_AT_ONCE):
        _render_together(self, order[start : start + _WARPS_AT_ONCE], matrices, out, start)
    pixels, masks = (x.to(images.dtype) for x in (out.image if out.depth is None else out.depth, out.mask))
    return pixels.reshape(b, t, n, *pixels.shape[1:]), masks.reshape(b, t, n, *masks.shape[1:])


def _render_together(
    cache: Any, warps: Sequence[tuple[int, int, int, int]], matrices: Tensor, out: warp.Warped, start: int
) -> None:
    """Render warps that are weighted by their common maximum of the depth, into the results from ``start``."""

    @functools.cache
    def on_device(i: int, frame: int, j: int) -> tuple[Tensor, Tensor, Tensor | None]:
        at = (i, frame, j, 0)
        mask = None if cache.input_mask is None else cache.input_mask[at][0].to(cache.device)
        return cache.input_image[at].to(cache.device), cache.input_points[at].to(cache.device), mask

    h, w = cache.input_image.shape[-2:]
    projections = [warp.world_projection(on_device(i, frame, j)[1], matrices[i, k]) for i, k, frame, j in warps]
    scale = warp.depth_scale(projections, h, w)
    for number, ((i, _, frame, j), project) in enumerate(zip(warps, projections, strict=True), start):
        image, _, mask = on_device(i, frame, j)
        warp.splat_frame(image, mask, project, scale, True, out.of(number))


def patch(cache_3d: Any) -> None:
    """Replace ``forward_warp`` and ``Cache3D_Base.render_cache`` of a module by those of this module.

    Calls with arguments that are not supported here go to the original.

    Args:
        cache_3d: the module ``cosmos_predict1.diffusion.inference.cache_3d`` of GEN3C.

    Raises:
        ValueError: it has no such names.
    """
    for name in ("forward_warp", "Cache3D_Base"):
        if not hasattr(cache_3d, name):
            raise check.value_error("cache_3d", f"a module with {name}", cache_3d)
    cache_3d.forward_warp = _or_original(forward_warp, cache_3d.forward_warp)
    cache_3d.Cache3D_Base.render_cache = _or_original(render_cache, cache_3d.Cache3D_Base.render_cache)


def _or_original(ours: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return ours(*args, **kwargs)
        except NotImplementedError:
            return original(*args, **kwargs)

    return run
