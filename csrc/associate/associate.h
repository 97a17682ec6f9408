// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"

// associate: one point of a new depth map, with what a map of points renders in its cell and with F past depth maps
// (h, w). Every line is one rounding per operation in the order written, as in camera.h.
namespace mirage {

enum Association : uint8_t { kKnown = 0, kNew = 1, kCloser = 2 };

struct AssociationRule {
  float same;    // relative difference of depths of one surface
  float beyond;  // 1 + same
  float far_beyond;  // its square
  float closer;  // ratio of footprints

  static AssociationRule of(double tolerance, double closer) {
    return {static_cast<float>(tolerance), static_cast<float>(1.0 + tolerance),
            static_cast<float>((1.0 + tolerance) * (1.0 + tolerance)), static_cast<float>(closer)};
  }
};

struct AssociateJob {
  const float *xyz, *depth, *footprint;  // (N, 3), (N,), (N,)
  const uint8_t* valid;                  // (N,), 0 = known; or null
  const float* rendered;                 // (N,) depths
  const int64_t* index;                  // (N,) rendered points, outside 0 .. R - 1 in holes
  const float* footprints;               // (R,) of the rendered points
  int64_t n, rows;
  const float *world2cam, *intrinsics, *past;  // (F, 3, 4), (F, 3, 3), (F, h, w)
  int64_t frames;
  int h, w;
  AssociationRule rule;
  uint8_t* out;  // (N,)

  MIRAGE_HD bool is_valid(int64_t n) const { return !valid || valid[n] != 0; }
  MIRAGE_HD bool is_hole(int64_t n) const { return index[n] < 0 || index[n] >= rows; }
  MIRAGE_HD int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

// How a point compares with what is rendered in its cell, not a hole.
struct Compared {
  bool in_front, closer;
};

MIRAGE_HD Compared compare_depths(float depth, float footprint, float rendered, float rendered_footprint,
                                  const AssociationRule& rule) {
  const bool same = magnitude_of(rendered - depth) <= depth * rule.same;
  const bool is_finer = rendered_footprint >= footprint * rule.closer;
  return {rendered > depth * rule.beyond, same && is_finer};
}

// Whether a past frame that has the point in its view at depth z observed its surface from about as near.
MIRAGE_HD bool is_as_near(float z, float fx, float footprint, const AssociationRule& rule) {
  return z / fx <= footprint * rule.beyond;
}

MIRAGE_HD bool is_on_surface(float surface, float z, const AssociationRule& rule) {
  return magnitude_of(surface - z) <= z * rule.same;
}

MIRAGE_HD uint8_t settle(const Compared& compared, bool observed, float depth, float rendered,
                         const AssociationRule& rule) {
  const bool is_duplicate = observed && rendered <= depth * rule.far_beyond;
  if (compared.closer && !observed) return kCloser;
  return compared.in_front && !is_duplicate ? kNew : kKnown;
}

}  // namespace mirage
