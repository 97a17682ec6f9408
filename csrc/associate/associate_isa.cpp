// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "associate/associate_isa.h"

#include "cpu/point_block.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

// Points that past frames may have observed: few of many, so they are collected first.
struct Candidates {
  PointBlock points;
  alignas(64) float footprint[kPointBlock];
  int64_t at[kPointBlock];
  Compared compared[kPointBlock];
  uint8_t observed[kPointBlock];
  int count = 0;

  void add(const AssociateJob& job, int64_t n, const Compared& how) {
    points.x[count] = job.xyz[3 * n];
    points.y[count] = job.xyz[3 * n + 1];
    points.z[count] = job.xyz[3 * n + 2];
    footprint[count] = job.footprint[n];
    at[count] = n;
    compared[count] = how;
    observed[count++] = 0;
  }
};

// Returns how many candidates the frame is the first to observe.
int observe(const AssociateJob& job, const View& view, const float* past, Candidates& c) {
  alignas(64) int32_t cell[kPointBlock];
  alignas(64) float depth[kPointBlock];
  const Rigid m = view.world2cam;
  const Pinhole k = view.pinhole;
  const AssociationRule rule = job.rule;
  const int h = job.h, w = job.w, count = c.count;
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) {
    const Projection p = project(m, k, c.points.x[i], c.points.y[i], c.points.z[i]);
    const int32_t at = cell_of(p, h, w);
    cell[i] = is_as_near(p.z, k.fx, c.footprint[i], rule) ? at : -1;
    depth[i] = p.z;
  }
  int first = 0;
  for (int i = 0; i < count; ++i) {
    if (cell[i] < 0 || c.observed[i]) continue;
    const bool now = is_on_surface(past[cell[i]], depth[i], rule);
    c.observed[i] = now;
    first += now;
  }
  return first;
}

void settle_all(const AssociateJob& job, const View* views, Candidates& c) {
  bound_points(c.points, c.count);
  int left = c.count;
  for (int64_t f = job.frames; f-- > 0 && left > 0;) {  // the last frames are the nearest, more often than not
    if (is_culled(views[f].frustum, c.points.box, 0.0f)) continue;
    left -= observe(job, views[f], job.past + f * job.cells(), c);
  }
  for (int i = 0; i < c.count; ++i) {
    const int64_t n = c.at[i];
    job.out[n] = settle(c.compared[i], c.observed[i] != 0, job.depth[n], job.rendered[n], job.rule);
  }
  c.count = 0;
}

void associate(const AssociateJob& job, const View* views, int64_t first, int64_t last) {
  Candidates candidates;
  for (int64_t n = first; n < last; ++n) {
    const bool valid = job.is_valid(n), hole = job.is_hole(n);
    job.out[n] = valid && hole ? kNew : kKnown;
    if (!valid || hole) continue;
    const Compared compared = compare_depths(job.depth[n], job.footprint[n], job.rendered[n],
                                             job.footprints[job.index[n]], job.rule);
    if (!compared.in_front && !compared.closer) continue;
    candidates.add(job, n, compared);
    if (candidates.count == kPointBlock) settle_all(job, views, candidates);
  }
  if (candidates.count > 0) settle_all(job, views, candidates);
}

}  // namespace

extern const AssociateKernels associate_kernels{associate};

}  // namespace MIRAGE_ISA
}  // namespace mirage
