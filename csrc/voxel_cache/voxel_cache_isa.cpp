// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "voxel_cache/voxel_cache_isa.h"

#include <algorithm>

#include "cpu/point_block.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int kBlock = kPointBlock;
constexpr int kLine = 64;       // bytes
constexpr int64_t kPrefetchDistance = 16;  // rows

void gather_bits(const uint32_t* axis, const int32_t* kept, int count, uint32_t* ones, uint32_t* zeros) {
  uint32_t one = 0, zero = 0;
  for (int k = 0; k < count; ++k) {
    const uint32_t mask = -static_cast<uint32_t>(kept[k]), folded = fold_axis(axis[k]);
    one |= folded & mask;
    zero |= ~folded & mask;
  }
  *ones |= one;
  *zeros |= zero;
}

template <class T>
MIRAGE_HD int32_t largest_magnitude(const T* row, int64_t channels) {
  int32_t largest = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const int32_t size = magnitude_bits(to_float(row[c]));
    largest = size > largest ? size : largest;
  }
  return largest;
}

// Clears `kept` of those of `count` points from `first` on that have a feature that is too large, or not finite.
void keep_in_range(const CachePoints& points, int64_t first, int count, int32_t* kept) {
  with_float(points.element, [&](auto type) {
    const auto* row = static_cast<const decltype(type)*>(points.features) + first * points.channels;
    int some = 0;
    for (int k = 0; k < count; ++k) some += kept[k];
    // One long loop is faster than a short one for each point, and seldom finds anything.
    if (some == count && largest_magnitude(row, count * points.channels) < points.rejected_from) return;
    for (int k = 0; k < count; ++k, row += points.channels)
      if (kept[k] != 0) kept[k] = static_cast<int32_t>(largest_magnitude(row, points.channels) < points.rejected_from);
  });
}

Encoded encode(const CachePoints& points, int64_t begin, int64_t end, uint64_t* codes) {
  Encoded sum{0, 0, {0, 0, 0}, {0, 0, 0}};
  PointBlock block;
  alignas(64) int32_t kept[kBlock];
  alignas(64) uint32_t cx[kBlock], cy[kBlock], cz[kBlock];
  const float inverse = points.inverse_size;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = end - first < kBlock ? static_cast<int>(end - first) : kBlock;
    deinterleave(points.xyz + 3 * first, count, block);
    int32_t valid_points = count, good = 0;
    const auto encode_axes = [&](const auto& footprint_of) {
      for (int k = 0; k < count; ++k) {
        cx[k] = voxel_axis(block.x[k], inverse);
        cy[k] = voxel_axis(block.y[k], inverse);
        cz[k] = voxel_axis(block.z[k], inverse);
        kept[k] = static_cast<int32_t>(is_kept({cx[k], cy[k], cz[k]}, footprint_of(k)));
      }
    };
    if (points.footprint) {
      encode_axes([footprint = points.footprint + first](int k) { return footprint[k]; });
    } else {
      encode_axes([footprint = points.default_footprint](int) { return footprint; });
    }
    if (points.valid) {
      const uint8_t* valid = points.valid + first;
      valid_points = 0;
      for (int k = 0; k < count; ++k) {
        valid_points += valid[k] != 0;
        kept[k] &= static_cast<int32_t>(valid[k] != 0);
      }
    }
    keep_in_range(points, first, count, kept);
    for (int k = 0; k < count; ++k) good += kept[k];
    gather_bits(cx, kept, count, &sum.ones.x, &sum.zeros.x);
    gather_bits(cy, kept, count, &sum.ones.y, &sum.zeros.y);
    gather_bits(cz, kept, count, &sum.ones.z, &sum.zeros.z);
    uint64_t* out = codes + (first - begin);
#pragma GCC ivdep
    for (int k = 0; k < count; ++k) {
      const uint64_t code = morton({cx[k], cy[k], cz[k]});
      out[k] = kept[k] != 0 ? code : kDropped;
    }
    sum.kept += good;
    sum.rejected += valid_points - good;
  }
  return sum;
}

void shorten_all(const ShortCode& code, uint64_t* codes, int64_t n) {
  const ShortCode s = code;
#pragma GCC ivdep
  for (int64_t k = 0; k < n; ++k) {
    const uint64_t full = codes[k], brief = shorten(s, full);
    codes[k] = full == kDropped ? kDropped : brief;
  }
}

void decode(const ShortCode& code, const uint64_t* codes, int64_t n, uint64_t slots, int64_t* keys, uint64_t* homes) {
  const ShortCode s = code;
#pragma GCC ivdep
  for (int64_t k = 0; k < n; ++k) {
    const VoxelAxes axes = axes_of_morton(restore(s, codes[k]));
    keys[k] = voxel_key(axes);
    homes[k] = home_slot(axes, slots);
  }
}

void find_homes(const int64_t* keys, int64_t n, uint64_t slots, uint64_t* homes) {
#pragma GCC ivdep
  for (int64_t k = 0; k < n; ++k) homes[k] = home_slot(axes_of(keys[k]), slots);
}

void copy_rows(const char* source, const int32_t* from, char* target, const int32_t* to, int64_t n, int64_t bytes) {
  const int64_t full_lines = bytes - bytes % kLine;
  for (int64_t k = 0; k < n; ++k) {
    if (k + kPrefetchDistance < n) {
      const char* next = source + from[k + kPrefetchDistance] * bytes;
      for (int64_t b = 0; b < bytes; b += kLine) __builtin_prefetch(next + b);
    }
    const char* row = source + from[k] * bytes;
    char* out = target + to[k] * bytes;
    for (int64_t b = 0; b < full_lines; b += kLine) __builtin_memcpy(out + b, row + b, kLine);
    if (full_lines < bytes) __builtin_memcpy(out + full_lines, row + full_lines, bytes - full_lines);
  }
}

// Between bytes and wider words 16 at a time: in a loop of any length the compiler waits for the 64 that fill a vector
// of bytes and leaves the rest scalar, and unrolled it sees no loop.
template <class From, class To>
MIRAGE_HD void convert(const From* __restrict from, int64_t n, To* __restrict to) {
  int64_t c = 0;
  for (; c + kLanes <= n; c += kLanes) {
#pragma GCC unroll 1
    for (int l = 0; l < kLanes; ++l) to[c + l] = static_cast<To>(from[c + l]);
  }
  for (; c < n; ++c) to[c] = static_cast<To>(from[c]);
}

template <class T>
float quantize_row(const T* row, int64_t channels, int8_t* out) {
  const float scale = int8_scale(bits_float(static_cast<uint32_t>(largest_magnitude(row, channels))));
  for (int64_t first = 0; first < channels; first += kBlock) {
    const int64_t count = channels - first < kBlock ? channels - first : kBlock;
    int32_t steps[kBlock];
    for (int64_t c = 0; c < count; ++c) steps[c] = int8_steps(to_float(row[first + c]), scale);
    convert(steps, count, out + first);
  }
  return scale;
}

// kWidth channels of rows points[0], points[1], ... added up in that order, in registers.
template <int kWidth, class T>
MIRAGE_HD void add_columns(const T* features, const int32_t* points, int64_t count, int64_t channels, bool is_new,
                           float* sum) {
  float total[kWidth];
  for (int l = 0; l < kWidth; ++l) total[l] = is_new ? to_float(features[points[0] * channels + l]) : sum[l];
  for (int64_t k = is_new; k < count; ++k) {
    const T* row = features + points[k] * channels;
    for (int l = 0; l < kWidth; ++l) total[l] += to_float(row[l]);
  }
  for (int l = 0; l < kWidth; ++l) sum[l] = total[l];
}

template <class T>
void add_rows(const T* features, const int32_t* points, int64_t count, int64_t channels, bool is_new, float* sum) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes)
    add_columns<kLanes>(features + c, points, count, channels, is_new, sum + c);
  for (; c < channels; ++c) add_columns<1>(features + c, points, count, channels, is_new, sum + c);
}

template <class From, class To>
void expand_row(const From* row, int64_t channels, const RowScale& scale, To* out) {
  const RowScale s = scale;
#pragma GCC ivdep
  for (int64_t c = 0; c < channels; ++c) from_float(decode_value(to_float(row[c]), s), out + c);
}

template <class To>
void expand_row(const int8_t* row, int64_t channels, const RowScale& scale, To* out) {
  int32_t steps[kBlock];
  float values[kBlock];
  for (int64_t first = 0; first < channels; first += kBlock) {
    const int64_t count = channels - first < kBlock ? channels - first : kBlock;
    convert(row + first, count, steps);
    for (int64_t c = 0; c < count; ++c) values[c] = static_cast<float>(steps[c]);
    expand_row(values, count, scale, out + first);
  }
}

float quantize(Element element, const void* row, int64_t channels, int8_t* out) {
  float scale = 0.0f;
  with_float(element, [&](auto type) { scale = quantize_row(static_cast<const decltype(type)*>(row), channels, out); });
  return scale;
}

void add(Element element, const void* features, const int32_t* points, int64_t count, int64_t channels, bool is_new,
         float* sum) {
  with_float(element, [&](auto type) {
    add_rows(static_cast<const decltype(type)*>(features), points, count, channels, is_new, sum);
  });
}

void expand(Element from, const void* row, int64_t channels, const RowScale& scale, Element to, void* out) {
  with_float(to, [&](auto type) {
    auto* words = static_cast<decltype(type)*>(out);
    if (from == Element::kInt8) {
      expand_row(static_cast<const int8_t*>(row), channels, scale, words);
    } else {
      with_float(from,
                 [&](auto stored) { expand_row(static_cast<const decltype(stored)*>(row), channels, scale, words); });
    }
  });
}

// A row's coordinates are finite, so the corners of their box stand for the rows.
void bound(const float* xyz, const float* footprint, int64_t n, PyramidBox* box) {
  PointBlock block;
  float unused, widest;
  for (int64_t first = 0; first < n; first += kBlock) {
    const int count = n - first < kBlock ? static_cast<int>(n - first) : kBlock;
    deinterleave(xyz + 3 * first, count, block);
    bound_points(block, count);
    bound_values(footprint + first, count, &unused, &widest);
    grow(*box, block.box.min, widest);
    grow(*box, block.box.max, widest);
  }
}

void carve_leaf(const float* xyz, int n, const View& view, const float* depth, const CarvedRows& job, uint8_t* keep) {
  PointBlock block;
  int32_t cell[kFanout];
  float z[kFanout];
  deinterleave(xyz, n, block);
  const Rigid m = view.world2cam;
  const Pinhole pinhole = view.pinhole;
#pragma GCC ivdep
  for (int k = 0; k < n; ++k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    cell[k] = cell_of(p, job.h, job.w);
    z[k] = p.z;
  }
  for (int k = 0; k < n; ++k)
    if (cell[k] >= 0 && seen_through(depth[cell[k]], z[k], job.factor)) keep[k] = 0;
}

void carve(const CarvedRows& job, const View* all_views, int64_t part, int64_t parts) {
  const int64_t cells = static_cast<int64_t>(job.h) * job.w;
  for (int64_t first = 0; first < job.views; first += kViewBatch) {
    const int64_t left = job.views - first;
    const int count = static_cast<int>(left < kViewBatch ? left : kViewBatch);
    for_each_visible_leaf(job.boxes, {0.0f, 0.0f}, all_views + first, count, part, parts,
                          [&](int64_t leaf, uint32_t views) {
                            const int64_t row = leaf * kFanout, rows = job.rows - row;
                            for (; views != 0; views &= views - 1) {
                              const int64_t v = first + __builtin_ctz(views);
                              carve_leaf(job.xyz + 3 * row, static_cast<int>(rows < kFanout ? rows : kFanout),
                                         all_views[v], job.depth + v * cells, job, job.keep + row);
                            }
                          });
  }
}

}  // namespace

extern const VoxelCacheKernels voxel_cache_kernels{encode,   shorten_all, decode, find_homes, copy_rows,
                                                   quantize, add,         expand, bound,      carve};

}  // namespace MIRAGE_ISA
}  // namespace mirage
