// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "voxel_cache/voxel_cache_insert.h"

namespace mirage::cuda {

PlanFunction plan_insert;
CommitFunction commit_insert;

}  // namespace mirage::cuda
