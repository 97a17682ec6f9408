// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <tuple>

#include "torch/tensor.h"
#include "voxel_cache/voxel_cache.h"

// insert, commit and index, on any device. N points, C channels, R rows of capacity, T slots of the table.
//
// An insert makes a plan, which changes nothing, and commits it if the state has room for it. If not, it returns the
// plan, which the caller commits once there is room.
namespace mirage {

inline Element element_of(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float: return Element::kFloat;
    case ScalarType::BFloat16: return Element::kBFloat16;
    case ScalarType::Half: return Element::kFloat16;
    case ScalarType::Char: return Element::kInt8;
    default: guard(false, "voxel_cache: features must be float32, bfloat16, float16 or int8");
  }
  return Element::kFloat;
}

inline int64_t size_of(Element element) { return element == Element::kFloat ? 4 : element == Element::kInt8 ? 1 : 2; }

// State is read and written in place: it must be contiguous already.
inline void expect_state(const Tensor& t, ScalarType dtype, std::initializer_list<int64_t> shape, const char* what) {
  guard(t.is_contiguous(), "voxel_cache: state must be contiguous");
  expect(t, dtype, shape, what);
}

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

// The inputs of a plan, checked.
struct PlanOperands {
  int64_t n;
  Tensor xyz, features, keys, footprint_rows, table;
  OptionalTensor valid, footprint;
  CachePoints points;
  HeldRows held;
  Fusion fusion;

  PlanOperands(const InsertedPoints& inserted, const CacheState& state, const InsertRule& rule)
      : n(inserted.xyz.size(0)),
        xyz(expect(inserted.xyz, ScalarType::Float, {n, 3}, "voxel_cache_insert: xyz must be float32 (N, 3)")),
        features(expect(inserted.features, inserted.features.scalar_type(), {n, -1},
                        "voxel_cache_insert: features must be (N, C)")),
        keys(expect(state.keys, ScalarType::Long, {-1}, "voxel_cache_insert: keys must be int64 (R,)")),
        footprint_rows(expect(state.footprint, ScalarType::Float, {-1}, "voxel_cache_insert: bad footprint_rows")),
        table(expect(state.table, ScalarType::Int, {-1}, "voxel_cache_insert: table must be int32 (T,)")),
        valid(expect(inserted.valid, ScalarType::Bool, {n}, "voxel_cache_insert: valid must be bool (N,)")),
        footprint(expect(inserted.footprint, ScalarType::Float, {n}, "voxel_cache_insert: footprint must be (N,)")),
        points{data<float>(xyz),
               data<char>(features),
               element_of(features.scalar_type()),
               features.size(1),
               data<uint8_t>(valid),
               data<float>(footprint),
               static_cast<float>(rule.default_footprint),
               static_cast<float>(rule.inverse_size),
               rejected_from(static_cast<Fusion>(rule.fusion))},
        held{data<int64_t>(keys), data<float>(footprint_rows), data<int32_t>(table),
             static_cast<uint64_t>(table.numel()), state.rows},
        fusion(static_cast<Fusion>(rule.fusion)) {
    guard(n < INT32_MAX, "voxel_cache_insert: too many points");
    guard(points.element != Element::kInt8, "voxel_cache_insert: features must be float32, bfloat16 or float16");
    guard(rule.fusion >= 0 && rule.fusion <= 2, "voxel_cache_insert: unknown fusion");
    guard(held.rows >= 0 && held.rows <= keys.numel() && held.rows <= footprint_rows.numel(),
          "voxel_cache_insert: rows must be within capacity");
    guard(held.slots >= 64 && std::has_single_bit(held.slots), "voxel_cache_insert: bad size of table");
  }
};

// The tensors of the state that find a row, checked.
template <class Device>
RowsOfCache load_rows(const Tensor& keys, const Tensor& xyz, const Tensor& footprint, const Tensor& table,
                      const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2) {
  RowsOfCache rows{};
  rows.limit = keys.size(0);
  rows.slots = static_cast<uint64_t>(table.numel());
  Device::guard_device(keys, {&xyz, &footprint, &table, &boxes0, &boxes1, &boxes2});
  guard(rows.limit <= INT32_MAX, "voxel_cache: too many rows");
  expect_state(keys, ScalarType::Long, {rows.limit}, "voxel_cache: keys must be int64 (R,)");
  expect_state(xyz, ScalarType::Float, {rows.limit, 3}, "voxel_cache: xyz must be float32 (R, 3)");
  expect_state(footprint, ScalarType::Float, {rows.limit}, "voxel_cache: footprint must be float32 (R,)");
  expect_state(table, ScalarType::Int, {-1}, "voxel_cache: table must be int32 (T,)");
  guard(rows.slots >= 64 && std::has_single_bit(rows.slots), "voxel_cache: bad size of table");
  rows.keys = mutable_data<int64_t>(keys);
  rows.xyz = mutable_data<float>(xyz);
  rows.footprint = mutable_data<float>(footprint);
  rows.table = mutable_data<int32_t>(table);
  const Tensor* boxes[] = {&boxes0, &boxes1, &boxes2};
  PyramidBox** levels[] = {&rows.level0, &rows.level1, &rows.level2};
  for (int level = 0; level < kBoxLevels; ++level) {
    expect_state(*boxes[level], ScalarType::Float, {rows.num_boxes(level), kBoxFields},
                 "voxel_cache: boxes must be (ceil(R / 64^l), 7)");
    *levels[level] = reinterpret_cast<PyramidBox*>(mutable_data<float>(*boxes[level]));
  }
  return rows;
}

inline int64_t plan_size(int64_t kept, int64_t segments) {
  guard(kept >= 0 && segments >= 0 && kept <= INT32_MAX && segments <= kept, "voxel_cache_commit: bad sizes of a plan");
  return plan_words(kept, segments);
}

// What a commit writes, and where to, checked.
struct CommitOperands {
  int64_t n;
  Tensor plan, xyz, features;
  OptionalTensor footprint;
  Segments segments;
  RowsOfCache rows;
  void* features_rows;
  float* scale;  // or null
  bool mean;
  Observations observations;

  CommitOperands(const Tensor& plan_, int64_t kept, int64_t num_segments, const InsertedPoints& points,
                 const CacheState& state, const InsertRule& rule, const RowsOfCache& rows_)
      : n(points.xyz.size(0)),
        plan(expect(plan_, ScalarType::Long, {plan_size(kept, num_segments)}, "voxel_cache_commit: bad plan")),
        xyz(expect(points.xyz, ScalarType::Float, {n, 3}, "voxel_cache_commit: xyz must be float32 (N, 3)")),
        features(expect(points.features, points.features.scalar_type(), {n, -1},
                        "voxel_cache_commit: features must be (N, C)")),
        footprint(expect(points.footprint, ScalarType::Float, {n}, "voxel_cache_commit: footprint must be (N,)")),
        segments{split_plan(mutable_data<int64_t>(plan), num_segments), kept, num_segments}, rows(rows_),
        features_rows(state.features.mutable_data_ptr()),
        scale(state.scale ? mutable_data<float>(*state.scale) : nullptr),
        mean(static_cast<Fusion>(rule.fusion) == Fusion::kMean) {
    const int64_t c = channels(), r = rows.limit;
    guard(element_of(features.scalar_type()) != Element::kInt8,
          "voxel_cache_commit: features must be float32, bfloat16 or float16");
    guard(mean == state.count.has_value() && !(mean && state.scale),
          "voxel_cache_commit: count goes with the mean, scale with int8");
    guard(state.rows >= 0 && state.rows <= r, "voxel_cache_commit: rows must be within capacity");
    const ScalarType stored = state.scale ? ScalarType::Char : mean ? ScalarType::Float : features.scalar_type();
    expect_state(state.features, stored, {r, c}, "voxel_cache_commit: bad features_rows");
    expect_state(state.stamp, ScalarType::Long, {r}, "voxel_cache_commit: stamp_rows must be int64 (R,)");
    if (state.scale)
      expect_state(*state.scale, ScalarType::Float, {r}, "voxel_cache_commit: scale must be float32 (R,)");
    if (state.count) expect_state(*state.count, ScalarType::Int, {r}, "voxel_cache_commit: count must be int32 (R,)");
    observations = {data<float>(xyz),
                    data<float>(footprint),
                    n,
                    static_cast<float>(rule.default_footprint),
                    state.count ? mutable_data<int32_t>(*state.count) : nullptr,
                    mutable_data<int64_t>(state.stamp),
                    rule.stamp,
                    state.rows};
  }

  int64_t channels() const { return features.size(1); }
};

template <class Device>
void commit_plan(const Tensor& plan, int64_t kept, int64_t segments, const InsertedPoints& points,
                 const CacheState& state, const InsertRule& rule) {
  Device::guard_device(state.keys, {&plan, &points.xyz, pointer_to(points.footprint), &points.features, &state.features,
                                    pointer_to(state.scale), pointer_to(state.count), &state.stamp});
  const RowsOfCache rows = load_rows<Device>(state.keys, state.xyz, state.footprint, state.table, state.boxes0,
                                             state.boxes1, state.boxes2);
  Device::commit(CommitOperands(plan, kept, segments, points, state, rule, rows));
}

// On the CPU how many voxels of a plan are new, points rejected, points kept, and segments there are.
inline Tensor counts_of(const Planned& planned) {
  const Tensor counts = new_empty_on_host({4}, ScalarType::Long);
  int64_t* of_host = mutable_data<int64_t>(counts);
  of_host[0] = planned.added;
  of_host[1] = planned.rejected;
  of_host[2] = planned.kept;
  of_host[3] = planned.segments;
  return counts;
}

// Returns the plan of an insert and counts_of it; changes nothing.
template <class Device>
std::tuple<Tensor, Tensor> voxel_cache_plan(const Tensor& xyz, const Tensor& features, const Tensor& keys,
                                            const Tensor& footprint_rows, const Tensor& table, int64_t rows,
                                            double inverse_size, double default_footprint, int64_t fusion,
                                            const OptionalTensor& footprint, const OptionalTensor& valid) {
  Device::guard_device(xyz, {&features, pointer_to(valid), pointer_to(footprint), &keys, &footprint_rows, &table});
  const OptionalTensor none;
  const InsertedPoints points{xyz, features, footprint, valid};
  const CacheState state{keys, xyz, footprint_rows, xyz, xyz, table, xyz, xyz, xyz, none, none, rows};
  const Planned planned = Device::plan(PlanOperands(points, state, {0, inverse_size, default_footprint, fusion}));
  return {planned.words, counts_of(planned)};
}

// Plans an insert and commits it if the state has room; returns as voxel_cache_plan does.
template <class Device>
std::tuple<Tensor, Tensor> voxel_cache_insert(const Tensor& xyz, const Tensor& features, const Tensor& keys,
                                              const Tensor& xyz_rows, const Tensor& footprint_rows,
                                              const Tensor& features_rows, const Tensor& stamp_rows,
                                              const Tensor& table, const Tensor& boxes0, const Tensor& boxes1,
                                              const Tensor& boxes2, int64_t rows, int64_t stamp, double inverse_size,
                                              double default_footprint, int64_t fusion, const OptionalTensor& footprint,
                                              const OptionalTensor& valid, const OptionalTensor& scale,
                                              const OptionalTensor& count) {
  Device::guard_device(xyz, {&features, pointer_to(valid), pointer_to(footprint), &keys, &footprint_rows, &table});
  const InsertedPoints points{xyz, features, footprint, valid};
  const CacheState state{keys,   xyz_rows, footprint_rows, features_rows, stamp_rows, table,
                         boxes0, boxes1,   boxes2,         scale,         count,      rows};
  const InsertRule rule{stamp, inverse_size, default_footprint, fusion};
  const Planned planned = Device::plan(PlanOperands(points, state, rule));
  const Tensor counts = counts_of(planned);  // allocated before anything changes
  if (rows + planned.added <= keys.size(0))
    commit_plan<Device>(planned.words, planned.kept, planned.segments, points, state, rule);
  return {planned.words, counts};
}

template <class Device>
void voxel_cache_commit(const Tensor& plan, int64_t kept, int64_t segments, const Tensor& xyz, const Tensor& features,
                        const Tensor& keys, const Tensor& xyz_rows, const Tensor& footprint_rows,
                        const Tensor& features_rows, const Tensor& stamp_rows, const Tensor& table,
                        const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows, int64_t stamp,
                        double default_footprint, int64_t fusion, const OptionalTensor& footprint,
                        const OptionalTensor& scale, const OptionalTensor& count) {
  const CacheState state{keys,   xyz_rows, footprint_rows, features_rows, stamp_rows, table,
                         boxes0, boxes1,   boxes2,         scale,         count,      rows};
  commit_plan<Device>(plan, kept, segments, {xyz, features, footprint, std::nullopt}, state,
                      {stamp, 0.0, default_footprint, fusion});
}

// Builds the table and the boxes of the first `rows` rows.
template <class Device>
void voxel_cache_index(const Tensor& keys, const Tensor& xyz, const Tensor& footprint, const Tensor& table,
                       const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows) {
  const RowsOfCache state = load_rows<Device>(keys, xyz, footprint, table, boxes0, boxes1, boxes2);
  guard(rows >= 0 && rows <= state.limit, "voxel_cache_index: rows must be within capacity");
  guard(static_cast<uint64_t>(rows) <= state.slots, "voxel_cache_index: the table is full");
  Device::index(keys, state, rows);
}

template <class Device, class Library>
void register_voxel_cache(Library& m) {
  m.impl("voxel_cache_plan", MIRAGE_BOX(&voxel_cache_plan<Device>));
  m.impl("voxel_cache_insert", MIRAGE_BOX(&voxel_cache_insert<Device>));
  m.impl("voxel_cache_commit", MIRAGE_BOX(&voxel_cache_commit<Device>));
  m.impl("voxel_cache_index", MIRAGE_BOX(&voxel_cache_index<Device>));
}

}  // namespace mirage
