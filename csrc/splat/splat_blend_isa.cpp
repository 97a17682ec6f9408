// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_blend_isa.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int64_t kMostVectors = 256;  // of a row
constexpr uint32_t kAllNeighbors = (1u << kNeighbors) - 1;

void offsets_of_row(const OffsetsJob& job, int64_t view, int row) {
  const Rigid m = load_rigid(job.world2cam + 12 * view);
  const Pinhole k = load_pinhole(job.intrinsics + 9 * view);
  const int64_t* index = job.index + view * job.cells() + static_cast<int64_t>(row) * job.w;
  float* x = job.out + 2 * view * job.cells() + static_cast<int64_t>(row) * job.w;
  float* y = x + job.cells();
  for (int j = 0; j < job.w; ++j) {
    const Offset offset = offset_in_cell(job, m, k, index[j], row, j);
    x[j] = offset.x;
    y[j] = offset.y;
  }
}

#if defined(__AVX512F__)
constexpr int kWide = 16;
#elif defined(__AVX2__)
constexpr int kWide = 8;
#else
constexpr int kWide = 4;
#endif
typedef float Lanes __attribute__((vector_size(kWide * sizeof(float))));

MIRAGE_HD void load_lanes(const float* from, Lanes& lanes) { __builtin_memcpy(&lanes, from, sizeof(lanes)); }

// Row `row` of a map of h rows, with a margin of one number before it and more behind; only margin off the map.
template <class T>
void load_row(const T* map, int row, int h, int w, float margin, float* to) {
  const bool some = row >= 0 && row < h;
  const T* from = map + static_cast<int64_t>(some ? row : 0) * w;
  to[0] = margin;
#pragma GCC ivdep
  for (int j = 0; j < w; ++j) to[1 + j] = some ? to_float(from[j]) : margin;
  for (int64_t j = w + 1; j < blend_stride(w); ++j) to[j] = margin;
}

// What rows first .. first + kBlendRows - 1 need, in scratch.
struct RowsOfCells {
  int64_t stride;
  float* around;    // (9, stride): columns, rows and depths of three rows of neighbors
  float* weights;   // (kBlendRows, 9, stride)
  float* inverses;  // (kBlendRows, stride): of sums of weights
  float* features;  // (kBlendRows + 2, stride)
  float* sums;      // (stride,)

  RowsOfCells(int w, float* scratch)
      : stride(blend_stride(w)), around(scratch), weights(around + 9 * stride),
        inverses(weights + kBlendRows * kNeighbors * stride), features(inverses + kBlendRows * stride),
        sums(features + (kBlendRows + 2) * stride) {}
};

// The weights of the neighbors of a row of cells, and the inverses of their sums.
void weigh_row(const BlendJob& job, int64_t view, int row, const RowsOfCells& s, float* weights, float* total) {
  const float band = job.band, none = bits_float(0x7fc00000u);
  const float* x = job.offsets + 2 * view * job.cells();
  const float *xs = s.around, *ys = xs + 3 * s.stride, *depths = xs + 6 * s.stride;
  for (int r = 0; r < 3; ++r) {
    load_row(x, row + r - 1, job.h, job.w, none, s.around + r * s.stride);
    load_row(x + job.cells(), row + r - 1, job.h, job.w, none, s.around + (3 + r) * s.stride);
    load_row(job.depth + view * job.cells(), row + r - 1, job.h, job.w, none, s.around + (6 + r) * s.stride);
  }
  const int64_t used = s.stride - kLanes;
  for (int64_t j = 0; j < used; ++j) total[j] = 0.0f;
  for (int n = 0; n < kNeighbors; ++n) {
    const int down = n / 3 - 1, across = n % 3 - 1;
    const int64_t at = n / 3 * s.stride + n % 3;
    float* own = weights + n * s.stride;
#pragma GCC ivdep
    for (int64_t j = 0; j < used; ++j) {
      own[j] = neighbor_weight({xs[at + j], ys[at + j], depths[at + j]}, depths[s.stride + 1 + j], down, across, band);
      total[j] += own[j];
    }
  }
#pragma GCC ivdep
  for (int64_t j = 0; j < used; ++j) total[j] = inverse_weight(total[j]);
}

// Which neighbors count in any of kWide cells, as bits: offsets are alike in cells side by side, so most do not.
uint32_t neighbors_that_count(const float* weights, int64_t stride) {
  uint32_t bits = 0;
  for (int n = 0; n < kNeighbors; ++n) {
    float largest = 0.0f;
    for (int l = 0; l < kWide; ++l) largest = weights[n * stride + l] > largest ? weights[n * stride + l] : largest;
    bits |= static_cast<uint32_t>(largest > 0.0f) << n;
  }
  return bits;
}

template <class T>
void blend_rows(const BlendJob& job, int64_t view, int first, int last, float* scratch) {
  const int w = job.w, rows = last - first;
  const RowsOfCells s(w, scratch);
  const int64_t vectors = (s.stride - kLanes) / kWide;
  uint32_t counting[kBlendRows][kMostVectors];  // unknown beyond
  int64_t weight_of[kNeighbors], feature_of[kNeighbors];  // where the numbers of a neighbor begin
  for (int n = 0; n < kNeighbors; ++n) {
    weight_of[n] = n * s.stride;
    feature_of[n] = n / 3 * s.stride + n % 3;
  }
  for (int r = 0; r < rows; ++r) {
    float* weights = s.weights + r * kNeighbors * s.stride;
    weigh_row(job, view, first + r, s, weights, s.inverses + r * s.stride);
    for (int64_t k = 0; k < vectors && k < kMostVectors; ++k)
      counting[r][k] = neighbors_that_count(weights + k * kWide, s.stride);
  }
  for (int64_t c = 0; c < job.channels; ++c) {
    const int64_t map = (view * job.channels + c) * job.cells();
    for (int r = 0; r < rows + 2; ++r)
      load_row(static_cast<const T*>(job.features) + map, first + r - 1, job.h, w, 0.0f, s.features + r * s.stride);
    for (int r = 0; r < rows; ++r) {
      const float *weights = s.weights + r * kNeighbors * s.stride, *features = s.features + r * s.stride;
      T* out = static_cast<T*>(job.out) + map + static_cast<int64_t>(first + r) * w;
      for (int64_t k = 0; k < vectors; ++k) {
        const int64_t j = k * kWide;
        Lanes sum{};
        for (uint32_t left = k < kMostVectors ? counting[r][k] : kAllNeighbors; left != 0; left &= left - 1) {
          const int n = __builtin_ctz(left);
          Lanes weight, feature;
          load_lanes(weights + j + weight_of[n], weight);
          load_lanes(features + j + feature_of[n], feature);
          const Lanes product = weight * feature;
          sum += weight > 0.0f ? product : Lanes{};  // as weighted_sum
        }
        __builtin_memcpy(s.sums + j, &sum, sizeof(sum));
      }
      const float *inverse = s.inverses + r * s.stride, *own = features + s.stride + 1;
#pragma GCC ivdep
      for (int j = 0; j < w; ++j) from_float(blended(s.sums[j], inverse[j], own[j]), out + j);
    }
  }
}

}  // namespace

extern const BlendKernels blend_kernels{offsets_of_row, blend_rows<float>, blend_rows<BFloat16>, blend_rows<Float16>};

}  // namespace MIRAGE_ISA
}  // namespace mirage
