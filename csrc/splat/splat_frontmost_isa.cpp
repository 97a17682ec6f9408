// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_frontmost_isa.h"

#include "cpu/point_block.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

struct alignas(64) Placed {
  int32_t cell[kPointBlock];
  float depth[kPointBlock];
};

void place(const FrontmostJob& job, int64_t view, const PointBlock& block, int count, Placed& placed) {
  const Rigid m = job.pose(view);
  const Pinhole k = job.pinhole(view);
  const int h = job.h, w = job.w;
  const DepthRange range{job.near, job.far};
  const float border = job.border;
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) {
    const Projection p = project(m, k, block.x[i], block.y[i], block.z[i]);
    placed.cell[i] = front_cell(p, h, w, range, border);
    placed.depth[i] = p.z;
  }
}

// Lists the points in view, and enters their depths; returns how many there are.
int64_t enter(const FrontmostJob& job, int64_t view, const FrontmostBuffers& to) {
  PointBlock block;
  Placed placed;
  int64_t seen = 0;
  for (int64_t at = 0; at < job.n; at += kPointBlock) {
    const int count = static_cast<int>(job.n - at < kPointBlock ? job.n - at : kPointBlock);
    load_points(job.xyz + 3 * at, job.valid ? job.valid + at : nullptr, count, count, block);
    place(job, view, block, count, placed);
    for (int i = 0; i < count; ++i) {  // without a branch: whether a point is in view is hard to predict
      to.points[seen] = static_cast<uint32_t>(at + i);
      to.cells[seen] = placed.cell[i];
      to.depths[seen] = placed.depth[i];
      seen += placed.cell[i] >= 0;
    }
  }
  for (int64_t i = 0; i < job.cells(); ++i) to.nearest[i] = UINT32_MAX;
  for (int64_t i = 0; i < seen; ++i) {
    uint32_t& nearest = to.nearest[to.cells[i]];
    const uint32_t own = float_bits(to.depths[i]);
    nearest = own < nearest ? own : nearest;
  }
  return seen;
}

void mark(const FrontmostJob& job, int64_t view, const FrontmostBuffers& buffers) {
  const int64_t seen = enter(job, view, buffers);
  uint8_t* out = job.out + view * job.n;
  __builtin_memset(out, 0, job.n);
  for (int64_t i = 0; i < seen; ++i)
    out[buffers.points[i]] = is_frontmost(buffers.depths[i], buffers.nearest[buffers.cells[i]], job.tolerance);
}

}  // namespace

extern const FrontmostKernels frontmost_kernels{mark};

}  // namespace MIRAGE_ISA
}  // namespace mirage
