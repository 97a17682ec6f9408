// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "torch/cuda.h"
#include "unproject/unproject_kernels.cuh"
#include "unproject/unproject_operands.h"

namespace mirage {
namespace {

struct UnprojectOnCuda : CudaDevice {
  static void unproject(const UnprojectOperands& in, const Tensor& features, const UnprojectResult& out) {
    const OnDevice on(in.depth);
    const LiftedCells lifted{mutable_data<float>(out.xyz), mutable_data<uint8_t>(out.valid),
                             mutable_data<float>(out.footprint)};
    with_word(features.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      const int64_t c = features.size(1), cells = in.maps.cells();
      const Features f = plan_tiles<Word>(c, data<Word>(features), cells, data<Word>(out.features), cells * c);
      launch(unproject_lift_kernel<Word>, blocks_of(in.batch * ceil_div(cells, kTileCells), 1), kTileThreads,
             bytes_of_tile<Word>(f), on.stream, in.maps, f, data<Word>(features), lifted,
             mutable_data<Word>(out.features));
    });
  }

  static void backward_features(const Tensor& grad, const Tensor& valid, const Tensor& out) {
    const OnDevice on(grad);
    with_word(grad.scalar_type(), [&](auto word) {
      using Word = decltype(word);
      const int64_t b = out.size(0), c = out.size(1), cells = out.size(2) * out.size(3);
      const Features f = plan_tiles<Word>(c, data<Word>(out), cells, data<Word>(grad), cells * c);
      launch(unproject_backward_features_kernel<Word>, blocks_of(b * ceil_div(cells, kTileCells), 1), kTileThreads,
             bytes_of_tile<Word>(f), on.stream, f, cells, data<Word>(grad), data<uint8_t>(valid),
             mutable_data<Word>(out));
    });
  }

  static void backward_depth(const UnprojectOperands& in, const CellGradients& grad, const Tensor& out) {
    const OnDevice on(in.depth);
    float* sums = mutable_data<float>(out);
    const GradientOfCells g{data<float>(grad.xyz), data<float>(grad.footprint), data<uint8_t>(grad.valid)};
    const auto blocks = [&](int64_t of_map, int64_t per_block) {
      return blocks_of(in.batch * ceil_div(of_map, per_block), 1);
    };
    const int64_t cells = in.maps.cells(), pixels = in.maps.pixels();
    if (in.maps.rule.pooling == Pooling::kBilinear) {
      const Tensor dz = new_empty(in.depth, {in.cells()}, ScalarType::Float);
      launch(unproject_backward_cells_kernel, blocks(cells, kTileThreads), kTileThreads, 0, on.stream, in.maps, g,
             mutable_data<float>(dz));
      launch(unproject_gather_taps_kernel, blocks(pixels, kTileThreads), kTileThreads, 0, on.stream, in.maps,
             data<float>(dz), g.valid, sums);
    } else {
      fill_bytes(sums, 0, in.batch * pixels * sizeof(float), on.stream);
      launch(unproject_backward_depth_kernel, blocks(cells, kTileWarps), kTileThreads, 0, on.stream, in.maps, g, sums);
    }
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_unproject<mirage::UnprojectOnCuda>(m); }
