// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "voxel_cache/voxel_cache_tensor.h"

// An insert is a plan, which changes nothing, and where the state has room for it, its commit. Otherwise the plan is
// handed out, and committed once there is room.
namespace mirage {

// What is inserted: N points, C channels.
struct InsertedPoints {
  const Tensor &xyz, &features;
  const OptionalTensor &footprint, &valid;
};

// R rows of capacity, `rows` of them in use.
struct CacheState {
  const Tensor &keys, &xyz, &footprint, &features, &stamp, &table, &boxes0, &boxes1, &boxes2;
  const OptionalTensor &scale, &count;
  int64_t rows;
};

struct InsertRule {
  int64_t stamp;
  double inverse_size, default_footprint;
  int64_t fusion;
};

struct Planned {
  Tensor words;  // as split_plan has it
  int64_t added, rejected, kept, segments;
};

using PlanFunction = Planned(const InsertedPoints&, const CacheState&, const InsertRule&);
using CommitFunction = void(const Tensor& plan, int64_t kept, int64_t segments, const InsertedPoints&,
                            const CacheState&, const InsertRule&);

// What a commit writes, and where, guarded and kept alive.
struct CommitOperands {
  Tensor plan, xyz, features;
  OptionalTensor footprint;
  PlanArrays arrays;
  bool mean;

  CommitOperands(const Tensor& plan_, int64_t kept, int64_t segments, const InsertedPoints& points,
                 const CacheState& state, const InsertRule& rule)
      : mean(static_cast<Fusion>(rule.fusion) == Fusion::kMean) {
    guard(kept >= 0 && segments >= 0 && kept <= INT32_MAX && segments <= kept, "voxel_cache_commit: bad sizes of a plan");
    plan = expect(plan_, ScalarType::Long, {plan_words(kept, segments)}, "voxel_cache_commit: bad plan");
    arrays = split_plan(mutable_data<int64_t>(plan), segments);
    const int64_t n = points.xyz.size(0), c = points.features.size(-1), r = state.keys.size(0);
    xyz = expect(points.xyz, ScalarType::Float, {n, 3}, "voxel_cache_commit: xyz must be float32 (N, 3)");
    footprint = expect(points.footprint, ScalarType::Float, {n}, "voxel_cache_commit: footprint must be (N,)");
    const ScalarType dtype = points.features.scalar_type();
    features = expect(points.features, dtype, {n, c}, "voxel_cache_commit: features must be (N, C)");
    guard(mean == state.count.has_value() && !(mean && state.scale),
          "voxel_cache_commit: count goes with the mean, scale with int8");
    guard(state.rows >= 0 && state.rows <= r && r <= INT32_MAX, "voxel_cache_commit: rows must be within capacity");
    const ScalarType stored = state.scale ? ScalarType::Char : mean ? ScalarType::Float : dtype;
    expect_state(state.features, stored, {r, c}, "voxel_cache_commit: bad features_rows");
    expect_state(state.stamp, ScalarType::Long, {r}, "voxel_cache_commit: stamp_rows must be int64 (R,)");
    if (state.scale)
      expect_state(*state.scale, ScalarType::Float, {r}, "voxel_cache_commit: scale must be float32 (R,)");
    if (state.count)
      expect_state(*state.count, ScalarType::Int, {r}, "voxel_cache_commit: count must be int32 (R,)");
  }
};

// Returns the plan, and on the CPU how many voxels are new, points rejected, points kept, and segments there are.
template <PlanFunction* kPlan, CommitFunction* kCommit>
std::tuple<Tensor, Tensor> voxel_cache_insert(
    const Tensor& xyz, const Tensor& features, const Tensor& keys, const Tensor& xyz_rows, const Tensor& footprint_rows,
    const Tensor& features_rows, const Tensor& stamp_rows, const Tensor& table, const Tensor& boxes0,
    const Tensor& boxes1, const Tensor& boxes2, int64_t rows, int64_t stamp, double inverse_size,
    double default_footprint, int64_t fusion, const OptionalTensor& footprint, const OptionalTensor& valid,
    const OptionalTensor& scale, const OptionalTensor& count) {
  const InsertedPoints points{xyz, features, footprint, valid};
  const CacheState state{keys, xyz_rows, footprint_rows, features_rows, stamp_rows, table, boxes0, boxes1, boxes2,
                         scale, count, rows};
  const InsertRule rule{stamp, inverse_size, default_footprint, fusion};
  const Planned planned = kPlan(points, state, rule);
  if (rows + planned.added <= keys.size(0))
    kCommit(planned.words, planned.kept, planned.segments, points, state, rule);
  const Tensor counts = empty_on_host({4}, ScalarType::Long);
  int64_t* of_host = mutable_data<int64_t>(counts);
  of_host[0] = planned.added;
  of_host[1] = planned.rejected;
  of_host[2] = planned.kept;
  of_host[3] = planned.segments;
  return {planned.words, counts};
}

template <CommitFunction* kCommit>
void voxel_cache_commit(const Tensor& plan, int64_t kept, int64_t segments, const Tensor& xyz, const Tensor& features,
                        const Tensor& keys, const Tensor& xyz_rows, const Tensor& footprint_rows,
                        const Tensor& features_rows, const Tensor& stamp_rows, const Tensor& table,
                        const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows, int64_t stamp,
                        double default_footprint, int64_t fusion, const OptionalTensor& footprint,
                        const OptionalTensor& scale, const OptionalTensor& count) {
  const CacheState state{keys, xyz_rows, footprint_rows, features_rows, stamp_rows, table, boxes0, boxes1, boxes2,
                         scale, count, rows};
  kCommit(plan, kept, segments, {xyz, features, footprint, std::nullopt}, state, {stamp, 0.0, default_footprint, fusion});
}

}  // namespace mirage
