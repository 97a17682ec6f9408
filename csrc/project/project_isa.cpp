// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "project/project_isa.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

// The block's first `count` points into view v; `at` is the row of the first of them in the outputs.
void project_block(const ProjectJob& job, const PointBlock& block, int count, int64_t v, int64_t at) {
  const Rigid m = job.pose(v);
  const Pinhole k = job.pinhole(v);
  const int h = job.h, w = job.w;
  float* uv = job.uv + 2 * at;
  float* depth = job.depth + at;
  uint8_t* seen = job.inside + at;
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) {
    const Projection p = project(m, k, block.x[i], block.y[i], block.z[i]);
    uv[2 * i] = p.u;
    uv[2 * i + 1] = p.v;
    depth[i] = p.z;
    seen[i] = inside(p, h, w);
  }
}

void project_blocks(const ProjectJob& job, int64_t first, int64_t last) {
  PointBlock block;
  int64_t loaded = -1;
  for (int64_t item = first; item < last; ++item) {
    const int64_t b = item / job.views, v = item % job.views, from = b * kPointBlock;
    const int count = static_cast<int>(job.n - from < kPointBlock ? job.n - from : kPointBlock);
    if (b != loaded) deinterleave(job.points_of(v) + 3 * from, count, block);
    loaded = job.of_view > 0 ? -1 : b;
    project_block(job, block, count, v, v * job.n + from);
  }
}

}  // namespace

extern const ProjectKernels project_kernels{project_blocks};

}  // namespace MIRAGE_ISA
}  // namespace mirage
