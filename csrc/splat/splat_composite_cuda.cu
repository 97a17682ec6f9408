// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "splat/splat_cells_cuda.h"
#include "splat/splat_composite_kernels.cuh"
#include "splat/splat_composite_operands.h"
#include "splat/splat_rows_cuda.h"

namespace mirage {
namespace {

struct CompositeOnCuda : CudaDevice {
  static void composite(const CompositeOperands& in, const Tensor& features, const Tensor& out) {
    const OnDevice on(features);
    const int64_t channels = features.size(1), cells = in.cells();
    with_type(features.scalar_type(), [&](auto type) {
      using T = decltype(type);
      using Word = std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>;
      const Features f = plan_tiles<Word>(channels, data<Word>(out), cells, data<Word>(features), channels);
      launch(splat_composite_kernel<T, Word>, blocks_of(in.views() * ceil_div(cells, kTileCells), 1), kTileThreads,
             bytes_of_tile<Word>(f), on.stream, f, in.layers(features.size(0)), data<T>(features),
             mutable_data<Word>(out));
    });
  }

  static void backward_features(const CompositeOperands& in, const Tensor& grad, const Tensor& out) {
    const OnDevice on(grad);
    fill_bytes(out.mutable_data_ptr(), 0, out.numel() * out.element_size(), on.stream);
    const int64_t entries = in.index.numel(), all_cells = in.views() * in.cells(), channels = out.size(1);
    if (entries == 0) return;
    const CompositeLayers layers = in.layers(out.size(0));
    const Tensor scales = new_empty(in.weights, {entries}, ScalarType::Float);
    launch(splat_composite_scales_kernel, blocks_of(all_cells, kCellThreads), kCellThreads, 0, on.stream, layers,
           all_cells, mutable_data<float>(scales));
    const SortedCells sorted(in.index, out.size(0), on.stream);
    const Tensor rows = rows_of(grad, on.stream);
    with_type(grad.scalar_type(), [&](auto type) {
      using T = decltype(type);
      launch(splat_composite_sum_features_kernel<T>, blocks_of(entries, kRowWarps), kRowThreads, 0, on.stream,
             sorted.list, layers, data<float>(scales), data<T>(rows), channels, mutable_data<T>(out));
    });
  }

  static void backward_weights(const CompositeOperands& in, const Tensor& grad, const Tensor& features,
                               const Tensor& out) {
    const OnDevice on(grad);
    const int64_t all_cells = in.views() * in.cells(), channels = features.size(1);
    const CompositeLayers layers = in.layers(features.size(0));
    const Tensor rows = rows_of(grad, on.stream);
    with_type(grad.scalar_type(), [&](auto type) {
      using T = decltype(type);
      launch(splat_composite_products_kernel<T>, blocks_of(all_cells, kRowWarps), kRowThreads, 0, on.stream, layers,
             all_cells, data<T>(rows), data<T>(features), channels, mutable_data<float>(out));
    });
    launch(splat_composite_backward_weights_kernel, blocks_of(all_cells, kCellThreads), kCellThreads, 0, on.stream,
           layers, all_cells, mutable_data<float>(out));
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_composite<mirage::CompositeOnCuda>(m); }
