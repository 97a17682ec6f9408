# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels in twelve lines: latents become points, points a cache, and the cache what another camera sees.

python examples/twelve_lines.py
"""

import torch

from mirage_kernels import Cameras, VoxelCache, unproject

K = [640.0, 640.0, 640.0, 352.0]  # fx, fy, cx, cy
camera = Cameras(K, torch.eye(4), size=(704, 1280))
depth, latents = torch.full((1, 704, 1280), 2.0), torch.randn(1, 48, 44, 80)

points = unproject(depth, latents, camera)
cache = VoxelCache("auto", channels=48)
cache.insert(points.xyz, points.features, points.footprint, valid=points.valid)

pose = torch.eye(4)
pose[0, 3] = 0.3  # the camera moves to the right
view = cache.splat(Cameras(K, pose, size=(704, 1280)).rescale((44, 80)))
print(f"{len(cache):,} points; {view.mask.float().mean():.0%} of the cells of the new view are known")
