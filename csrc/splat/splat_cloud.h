// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/frustum.h"

namespace mirage {

// The cells that a point covers: the one it lands in; a square or a disc of them; or the four around it.
enum class Shape : int32_t { kPoint, kSquare, kDisc, kCorners };

struct Cloud {
  const float* xyz;      // (N, 3)
  const uint8_t* valid;  // (N,), 0 = ignored; or null: all of them are valid
  const float* extents;  // (N,), each to be scaled (scaled_extent), or of discs the radii; or null: the same for all
  float extent;          // world units
  float min_extent;
  float radius;  // cells; of radii the limit
  float near;    // only points at a greater depth are in view
  int64_t n;
};

MIRAGE_HD Shape shape_of(const Cloud& cloud) {
  if (cloud.radius > 0.0f) return Shape::kDisc;
  return cloud.extents || cloud.extent > 0.0f ? Shape::kSquare : Shape::kPoint;
}

struct CloudRows {
  int64_t first, count;
};

// How the rows of a Cloud and the views of a call divide among several clouds, which lie one after another.
struct Clouds {
  const int64_t* offsets;  // (count + 1,), clamped to the rows; or null: all clouds have as many rows
  int64_t count, rows;     // clouds, and the rows of all of them
  int64_t views;           // of each cloud
  int32_t own_masks;       // whether `valid` is (views of all clouds, rows / count), a mask for each view

  MIRAGE_HD int64_t views_of_group() const { return own_masks ? 1 : views; }  // that share points and mask
  MIRAGE_HD int64_t row_at(int64_t cloud) const {
    const int64_t row = offsets[cloud];
    return row < 0 ? 0 : row > rows ? rows : row;
  }
  MIRAGE_HD CloudRows rows_of(int64_t view) const {
    const int64_t cloud = view / views;
    if (!offsets) return {cloud * (rows / count), rows / count};
    const int64_t first = row_at(cloud), end = row_at(cloud + 1);
    return {first, end > first ? end - first : 0};
  }
  // What a view sees of all points.
  MIRAGE_HD Cloud cloud_of(Cloud all, int64_t view) const {
    const CloudRows own = rows_of(view);
    all.xyz += 3 * own.first;
    if (all.valid) all.valid += own_masks ? view * own.count : own.first;
    if (all.extents) all.extents += own.first;
    all.n = own.count;
    return all;
  }
};

MIRAGE_HD Clouds one_cloud(int64_t rows, int64_t views) { return {nullptr, 1, rows, views > 0 ? views : 1, 0}; }

struct SplatPoints : Cloud {
  Shape shape;
  BoxPyramid boxes;  // of all points; or nulls
  Clouds clouds;
};

}  // namespace mirage
