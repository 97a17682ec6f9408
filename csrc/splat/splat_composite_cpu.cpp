// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "cpu/tile.h"
#include "splat/splat_composite_isa.h"
#include "splat/splat_composite_operands.h"
#include "splat/splat_rows_cpu.h"

namespace mirage {
namespace {

constexpr int64_t kWidth = 16;  // channels summed together: a cache line of sums, which no other thread writes to

// Calls run(first, last) in parallel for cells (V, h w), a group of one view at a time.
template <class Run>
void for_each_group(const CompositeOperands& in, int64_t channels, const Run& run) {
  const int64_t cells = in.layers.cells, groups = ceil_div(cells, kGroup);
  const int64_t grain = std::max<int64_t>(1, 65536 / (channels * in.index.size(1) + 1) / kGroup);
  parallel_for(0, in.views() * groups, grain, [&](int64_t task, int64_t last_task) {
    for (; task < last_task; ++task) {
      const int64_t first = task % groups * kGroup, at = task / groups * cells;
      run(at + first, at + std::min(cells, first + kGroup));
    }
  });
}

// Adds scales (V, k, cells) times grad (V cells, C) to sums (N, C), for channels c0 .. c0 + width - 1.
void sum_channels(const CompositeLayers& in, int64_t entries, const float* scales, const float* grad, int64_t channels,
                  int64_t c0, int64_t width, float* sums) {
  for (int64_t entry = 0; entry < entries; ++entry) {  // in order: the sums must repeat bit for bit
    if (in.index[entry] < 0) continue;
    float* __restrict sum = sums + in.index[entry] * channels + c0;
    const float* row = grad + in.cell_of_entry(entry) * channels + c0;
    for (int64_t c = 0; c < width; ++c) sum[c] += row[c] * scales[entry];
  }
}

struct CompositeOnCpu : CpuDevice {
  static void composite(const CompositeOperands& in, const Tensor& features, const Tensor& out) {
    guard_index(in.index, features.size(0));
    const int64_t channels = features.size(1), cells = in.layers.cells;
    const auto blend = MIRAGE_KERNELS(composite_kernels).blend[dtype_number(features.scalar_type())];
    with_word(features.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      for_each_group(in, channels, [&](int64_t first, int64_t last) {
        const auto sums = std::make_unique_for_overwrite<float[]>(channels);
        const auto blended = std::make_unique_for_overwrite<Word[]>(kGroup * channels);
        blend(in.layers, first, last, features.const_data_ptr(), channels, sums.get(), blended.get());
        const Word* rows[kGroup];
        for (int64_t k = 0; k < last - first; ++k) rows[k] = blended.get() + k * channels;
        Word* to = mutable_data<Word>(out) + first / cells * channels * cells + first % cells;
        transpose<Word>(rows, last - first, channels, to, cells);
      });
    });
  }

  static void backward_features(const CompositeOperands& in, const Tensor& grad, const Tensor& out) {
    guard_index(in.index, out.size(0));
    const int64_t channels = out.size(1);
    const CompositeLayers& layers = in.layers;
    const auto scales = std::make_unique_for_overwrite<float[]>(in.index.numel());
    for_each_group(in, 1, [&](int64_t first, int64_t last) {
      for (int64_t cell = first; cell < last; ++cell)
        layers.of(cell).final_scales(scales.get() + layers.first_of(cell));
    });
    const auto rows = rows_of(grad);
    const RoundedSums sums(out);
    parallel_for(0, ceil_div(channels, kWidth), 1, [&](int64_t block, int64_t last) {
      for (; block < last; ++block)
        sum_channels(layers, in.index.numel(), scales.get(), rows.get(), channels, block * kWidth,
                     std::min(kWidth, channels - block * kWidth), sums.first);
    });
    sums.round();
  }

  static void backward_weights(const CompositeOperands& in, const Tensor& grad, const Tensor& features,
                               const Tensor& out) {
    guard_index(in.index, features.size(0));
    const auto run = MIRAGE_KERNELS(composite_kernels).backward_weights[dtype_number(features.scalar_type())];
    const auto rows = rows_of(grad);
    for_each_group(in, features.size(1), [&](int64_t first, int64_t last) {
      run(in.layers, first, last, rows.get(), features.const_data_ptr(), features.size(1), mutable_data<float>(out));
    });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_composite<mirage::CompositeOnCpu>(m); }
