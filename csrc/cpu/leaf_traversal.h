// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"

// Which leaves of a box pyramid may be seen, and by which views. Everything here is inlined into the files that are
// compiled once per instruction set.
namespace mirage {

constexpr int kViewBatch = 32;

struct alignas(64) BoxSpans {  // of 64 boxes, side by side
  float x[kFanout], y[kFanout], z[kFanout];  // centers
  float half_x[kFanout], half_y[kFanout], half_z[kFanout];
  float largest_x[kFanout], largest_y[kFanout], largest_z[kFanout];
  float reach[kFanout];
  int32_t none[kFanout], bounded[kFanout];
};

MIRAGE_HD BoxSpan span_at(const BoxSpans& s, int64_t k) {
  return {{s.x[k], s.y[k], s.z[k]},
          {s.half_x[k], s.half_y[k], s.half_z[k]},
          {s.largest_x[k], s.largest_y[k], s.largest_z[k]},
          s.reach[k],
          s.none[k],
          s.bounded[k]};
}

// The first n of boxes, and empty ones up to kFanout.
MIRAGE_HD void load_spans(const PyramidBox* boxes, int64_t n, ExtentRule rule, BoxSpans& out) {
  static_assert(sizeof(PyramidBox) == 7 * sizeof(float));
  alignas(64) float field[7][kFanout];
  for (int64_t k = 0; k < kFanout; ++k) {
    float box[7];
    __builtin_memcpy(box, boxes + (k < n ? k : 0), sizeof(box));
    for (int i = 0; i < 7; ++i) field[i][k] = box[i];
  }
  for (int64_t k = n; k < kFanout; ++k) field[0][k] = bits_float(0x7fc00000u);  // NaN
#pragma GCC ivdep
  for (int64_t k = 0; k < kFanout; ++k) {
    const Box box{{field[0][k], field[1][k], field[2][k]}, {field[3][k], field[4][k], field[5][k]}};
    const BoxSpan s = span_of(box, scaled_extent(rule.scale, field[6][k], rule.min));
    out.x[k] = s.center.x;
    out.y[k] = s.center.y;
    out.z[k] = s.center.z;
    out.half_x[k] = s.half.x;
    out.half_y[k] = s.half.y;
    out.half_z[k] = s.half.z;
    out.largest_x[k] = s.largest.x;
    out.largest_y[k] = s.largest.y;
    out.largest_z[k] = s.largest.z;
    out.reach[k] = s.reach;
    out.none[k] = s.none;
    out.bounded[k] = s.bounded;
  }
}

// Bit k is set where the view may see box k.
MIRAGE_HD uint64_t may_see(const BoxSpans& spans, const View& view) {
  const Frustum f = view.frustum;
  alignas(64) int32_t missed[kFanout];
#pragma GCC ivdep
  for (int64_t k = 0; k < kFanout; ++k) missed[k] = is_culled(f, span_at(spans, k));
  uint64_t bits = 0;
  for (int64_t k = 0; k < kFanout; ++k) bits |= static_cast<uint64_t>(1 - missed[k]) << k;
  return bits;
}

struct ViewBits {  // for each view, which of 64 boxes it may see
  uint64_t of[kViewBatch];
  uint64_t any;

  MIRAGE_HD uint32_t views_of(int box, int num_views) const {
    uint32_t views = 0;
    for (int v = 0; v < num_views; ++v) views |= static_cast<uint32_t>((of[v] >> box) & 1) << v;
    return views;
  }
};

// Tests the boxes against those of the views whose bit is set.
MIRAGE_HD ViewBits test_boxes(const PyramidBox* boxes, int64_t n, ExtentRule rule, const View* views, int num_views,
                              uint32_t tested) {
  BoxSpans spans;
  load_spans(boxes, n < kFanout ? n : kFanout, rule, spans);
  ViewBits bits;
  bits.any = 0;
  for (int v = 0; v < num_views; ++v) {
    bits.of[v] = (tested >> v) & 1 ? may_see(spans, views[v]) : 0;
    bits.any |= bits.of[v];
  }
  return bits;
}

// Calls visit(leaf, bits of the views that may see it) for the leaves of runs part, part + parts, ... of 64 leaves, in
// ascending order. At most kViewBatch views.
template <class Visit>
MIRAGE_HD void for_each_visible_leaf(const BoxPyramid& boxes, ExtentRule rule, const View* views, int num_views,
                                     int64_t part, int64_t parts, const Visit& visit) {
  const uint32_t all = num_views < 32 ? (uint32_t{1} << num_views) - 1 : ~uint32_t{0};
  for (int64_t first2 = 0; first2 < boxes.size2; first2 += kFanout) {
    const ViewBits bits2 = test_boxes(boxes.level2 + first2, boxes.size2 - first2, rule, views, num_views, all);
    for (uint64_t left2 = bits2.any; left2 != 0; left2 &= left2 - 1) {
      const int box2 = __builtin_ctzll(left2);
      const int64_t first1 = (first2 + box2) * kFanout;
      const ViewBits bits1 = test_boxes(boxes.level1 + first1, boxes.size1 - first1, rule, views, num_views,
                                        bits2.views_of(box2, num_views));
      for (uint64_t left1 = bits1.any; left1 != 0; left1 &= left1 - 1) {
        const int box1 = __builtin_ctzll(left1);
        if ((first1 + box1) % parts != part) continue;
        const int64_t first0 = (first1 + box1) * kFanout;
        const ViewBits bits0 = test_boxes(boxes.level0 + first0, boxes.size0 - first0, rule, views, num_views,
                                          bits1.views_of(box1, num_views));
        for (uint64_t left0 = bits0.any; left0 != 0; left0 &= left0 - 1)
          visit(first0 + __builtin_ctzll(left0), bits0.views_of(__builtin_ctzll(left0), num_views));
      }
    }
  }
}

}  // namespace mirage
