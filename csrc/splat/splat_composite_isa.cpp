// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_composite_isa.h"

#include "splat/splat_lanes.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int64_t kAhead = 4;  // cells whose features are fetched before they are needed

template <class T>
void fetch(const CellLayers& cell, const T* features, int64_t channels) {
  for (int64_t l = 0; l < cell.layers; ++l) {
    if (!cell.has_point(l)) continue;
    const T* row = features + cell.index[l * cell.stride] * channels;
    for (int64_t c = 0; c < channels; c += 64 / sizeof(T)) __builtin_prefetch(row + c);
  }
}

template <class T>
void blend(const CompositeLayers& in, int64_t first, int64_t last, const void* features, int64_t channels,
           float* __restrict sums, void* rows) {
  const T* from = static_cast<const T*>(features);
  T* to = static_cast<T*>(rows);
  for (int64_t cell = first; cell < last; ++cell, to += channels) {
    if (cell + kAhead < last) fetch(in.of(cell + kAhead), from, channels);
    for (int64_t c = 0; c < channels; ++c) sums[c] = 0.0f;
    const CellLayers layers = in.of(cell);
    const LayerTotals totals = layers.each([&](int64_t, int64_t point, float scale) {
      const T* row = from + point * channels;
      for (int64_t c = 0; c < channels; ++c) sums[c] += scale * to_float(row[c]);
    });
    if (layers.is_divided())
      for (int64_t c = 0; c < channels; ++c) sums[c] = sums[c] / totals.divisor();
    for (int64_t c = 0; c < channels; ++c) from_float(sums[c], to + c);
  }
}

template <class T>
void backward_weights(const CompositeLayers& in, int64_t first, int64_t last, const float* grad, const void* features,
                      int64_t channels, float* out) {
  const T* from = static_cast<const T*>(features);
  for (int64_t cell = first; cell < last; ++cell) {
    if (cell + kAhead < last) fetch(in.of(cell + kAhead), from, channels);
    const CellLayers layers = in.of(cell);
    const float* own = grad + cell * channels;
    float* by_layer = out + in.first_of(cell);
    layers.each([&](int64_t l, int64_t point, float) {
      const T* row = from + point * channels;
      by_layer[l * in.cells] = sum_in_order(channels, Lanes{}, [&](int64_t c) { return own[c] * to_float(row[c]); });
    });
    layers.backward_weights(by_layer);
  }
}

}  // namespace

extern const CompositeKernels composite_kernels{
    {blend<float>, blend<BFloat16>, blend<Float16>},
    {backward_weights<float>, backward_weights<BFloat16>, backward_weights<Float16>}};

}  // namespace MIRAGE_ISA
}  // namespace mirage
