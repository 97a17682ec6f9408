// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "cpu/leaf_traversal.h"
#include "voxel_cache/voxel_cache.h"
#include "voxel_cache/voxel_cache_code.h"

namespace mirage {

struct Encoded {
  int64_t kept, rejected;
  VoxelAxes ones, zeros;  // the bits that are 1, and those that are 0, in a folded axis of any kept point
};

struct VoxelCacheKernels {
  // Morton codes (end - begin,) of points [begin, end), kDropped where one is not kept.
  Encoded (*encode)(const CachePoints&, int64_t begin, int64_t end, uint64_t* codes);
  // Shortens codes (n,) in place; kDropped stays.
  void (*shorten_all)(const ShortCode&, uint64_t* codes, int64_t n);
  // Turns short codes (n,) into keys and home slots.
  void (*decode)(const ShortCode&, const uint64_t* codes, int64_t n, uint64_t slots, int64_t* keys, uint64_t* homes);
  void (*find_homes)(const int64_t* keys, int64_t n, uint64_t slots, uint64_t* homes);
  // Copies rows from[k] of `source` to rows to[k] of `target`.
  void (*copy_rows)(const char* source, const int32_t* from, char* target, const int32_t* to, int64_t n, int64_t bytes);
  // Quantizes one row to int8; returns its scale.
  float (*quantize)(Element, const void* row, int64_t channels, int8_t* out);
  // sum (C,) += the rows points (count,) of features (N, C), one after the other; if is_new, sum = the first of them.
  void (*add)(Element, const void* features, const int32_t* points, int64_t count, int64_t channels, bool is_new,
              float* sum);
  // decode_value of channels of a row, rounded once to the output's dtype.
  void (*expand)(Element from, const void* row, int64_t channels, const RowScale&, Element to, void* out);
  // Grows a box by rows (n,).
  void (*bound)(const float* xyz, const float* footprint, int64_t n, PyramidBox* box);
  // Clears `keep` of the rows in runs part, part + parts, ... of 64 leaves that a depth map sees through.
  void (*carve)(const CarvedRows&, const View* views, int64_t part, int64_t parts);
};

MIRAGE_EACH_ISA(extern const VoxelCacheKernels voxel_cache_kernels)

}  // namespace mirage
