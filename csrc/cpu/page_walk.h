// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"

// Which pages of points may be seen, and by which views. Everything here is inlined into the files that are compiled
// once per instruction set.
namespace mirage {

constexpr int kViewsAtOnce = 32;

struct alignas(64) BoxSpans {  // of 64 boxes, side by side
  float x[kPage], y[kPage], z[kPage];  // centres
  float half_x[kPage], half_y[kPage], half_z[kPage];
  float largest_x[kPage], largest_y[kPage], largest_z[kPage];
  float reach[kPage];
  int32_t none[kPage], bounded[kPage];
};

MIRAGE_HD BoxSpan span_at(const BoxSpans& s, int64_t k) {
  return {{s.x[k], s.y[k], s.z[k]},
          {s.half_x[k], s.half_y[k], s.half_z[k]},
          {s.largest_x[k], s.largest_y[k], s.largest_z[k]},
          s.reach[k],
          s.none[k],
          s.bounded[k]};
}

// The first n of boxes; behind them there are empty ones.
MIRAGE_HD void load_spans(const PageBox* boxes, int64_t n, ExtentRule rule, BoxSpans& out) {
  static_assert(sizeof(PageBox) == 7 * sizeof(float));
  alignas(64) float field[7][kPage];
  for (int64_t k = 0; k < kPage; ++k) {
    float box[7];
    __builtin_memcpy(box, boxes + (k < n ? k : 0), sizeof(box));
    for (int i = 0; i < 7; ++i) field[i][k] = box[i];
  }
  for (int64_t k = n; k < kPage; ++k) field[0][k] = bits_float(0x7fc00000u);  // NaN
#pragma GCC ivdep
  for (int64_t k = 0; k < kPage; ++k) {
    const Box box{{field[0][k], field[1][k], field[2][k]}, {field[3][k], field[4][k], field[5][k]}};
    const BoxSpan s = span_of(box, scaled_extent(rule.scale, field[6][k], rule.least));
    out.x[k] = s.centre.x;
    out.y[k] = s.centre.y;
    out.z[k] = s.centre.z;
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

// Bit k is set where the view may draw something of box k.
MIRAGE_HD uint64_t may_draw(const BoxSpans& spans, const View& view) {
  const Frustum f = view.frustum;
  alignas(64) int32_t missed[kPage];
#pragma GCC ivdep
  for (int64_t k = 0; k < kPage; ++k) missed[k] = misses(f, span_at(spans, k));
  uint64_t bits = 0;
  for (int64_t k = 0; k < kPage; ++k) bits |= static_cast<uint64_t>(1 - missed[k]) << k;
  return bits;
}

struct ViewBits {  // of 64 boxes, which every view may draw something of
  uint64_t of[kViewsAtOnce];
  uint64_t any;

  MIRAGE_HD uint32_t views_of(int box, int num_views) const {
    uint32_t views = 0;
    for (int v = 0; v < num_views; ++v) views |= static_cast<uint32_t>((of[v] >> box) & 1) << v;
    return views;
  }
};

// Asks those of the views whose bit is set.
MIRAGE_HD ViewBits ask_boxes(const PageBox* boxes, int64_t n, ExtentRule rule, const View* views, int num_views,
                             uint32_t asked) {
  BoxSpans spans;
  load_spans(boxes, n < kPage ? n : kPage, rule, spans);
  ViewBits bits;
  bits.any = 0;
  for (int v = 0; v < num_views; ++v) {
    bits.of[v] = (asked >> v) & 1 ? may_draw(spans, views[v]) : 0;
    bits.any |= bits.of[v];
  }
  return bits;
}

// Calls visit(page, bits of the views that may draw something of it) for those of runs part, part + parts, ... of 64
// pages, in ascending order. At most kViewsAtOnce views.
template <class Visit>
MIRAGE_HD void walk_pages(const PageBoxes& boxes, ExtentRule rule, const View* views, int num_views, int64_t part,
                          int64_t parts, const Visit& visit) {
  const uint32_t all = num_views < 32 ? (uint32_t{1} << num_views) - 1 : ~uint32_t{0};
  for (int64_t top0 = 0; top0 < boxes.num_tops; top0 += kPage) {
    const ViewBits tops = ask_boxes(boxes.tops + top0, boxes.num_tops - top0, rule, views, num_views, all);
    for (uint64_t a = tops.any; a != 0; a &= a - 1) {
      const int top = __builtin_ctzll(a);
      const int64_t word0 = (top0 + top) * kPage;
      const ViewBits words = ask_boxes(boxes.words + word0, boxes.num_words - word0, rule, views, num_views,
                                       tops.views_of(top, num_views));
      for (uint64_t b = words.any; b != 0; b &= b - 1) {
        const int word = __builtin_ctzll(b);
        if ((word0 + word) % parts != part) continue;
        const int64_t page0 = (word0 + word) * kPage;
        const ViewBits pages = ask_boxes(boxes.pages + page0, boxes.num_pages - page0, rule, views, num_views,
                                         words.views_of(word, num_views));
        for (uint64_t c = pages.any; c != 0; c &= c - 1)
          visit(page0 + __builtin_ctzll(c), pages.views_of(__builtin_ctzll(c), num_views));
      }
    }
  }
}

}  // namespace mirage
