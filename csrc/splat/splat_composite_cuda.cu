// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_cells_cuda.h"
#include "splat/splat_composite_kernels.cuh"
#include "splat/splat_composite_operands.h"
#include "splat/splat_rows_cuda.h"

namespace mirage {
namespace {

struct CompositeOnCuda : CudaDevice {
  static void composite(const CompositeOperands& in, const Tensor& features, const Tensor& out) {
    const OnDevice on(features);
    const int64_t channels = features.size(1);
    with_type(features.scalar_type(), [&](auto type) {
      using T = decltype(type);
      const Features f = plan_tiles<WordOf<T>>(channels, data<T>(out), in.layers.cells, data<T>(features), channels);
      launch(splat_composite_kernel<T>, blocks_of(in.views() * ceil_div(in.layers.cells, kTileCells), 1), kTileThreads,
             bytes_of_tile<WordOf<T>>(f), on.stream, f, in.layers, data<T>(features), mutable_data<WordOf<T>>(out));
    });
  }

  static void backward_features(const CompositeOperands& in, const Tensor& grad, const Tensor& out) {
    const OnDevice on(grad);
    fill_bytes(out.mutable_data_ptr(), 0, out.numel() * out.element_size(), on.stream);
    const int64_t entries = in.index.numel(), all_cells = in.cells(), channels = out.size(1);
    if (entries == 0) return;
    const Tensor scales = new_empty(in.weights, {entries}, ScalarType::Float);
    launch(splat_composite_scales_kernel, blocks_of(all_cells, kCellThreads), kCellThreads, 0, on.stream, in.layers,
           all_cells, mutable_data<float>(scales));
    const SortedCells sorted(in.index, out.size(0), on.stream);
    const Tensor rows = rows_of(grad, on.stream);
    with_type(grad.scalar_type(), [&](auto type) {
      using T = decltype(type);
      launch(splat_composite_sum_features_kernel<T>, blocks_of(entries, kRowWarps), kRowThreads, 0, on.stream,
             sorted.list, in.layers, data<float>(scales), data<T>(rows), channels, mutable_data<T>(out));
    });
  }

  static void backward_weights(const CompositeOperands& in, const Tensor& grad, const Tensor& features,
                               const Tensor& out) {
    const OnDevice on(grad);
    const int64_t all_cells = in.cells(), channels = features.size(1);
    const Tensor rows = rows_of(grad, on.stream);
    with_type(grad.scalar_type(), [&](auto type) {
      using T = decltype(type);
      launch(splat_composite_products_kernel<T>, blocks_of(all_cells, kRowWarps), kRowThreads, 0, on.stream, in.layers,
             all_cells, data<T>(rows), data<T>(features), channels, mutable_data<float>(out));
    });
    launch(splat_composite_backward_weights_kernel, blocks_of(all_cells, kCellThreads), kCellThreads, 0, on.stream,
           in.layers, all_cells, mutable_data<float>(out));
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_composite<mirage::CompositeOnCuda>(m); }
