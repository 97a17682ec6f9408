# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""x"""
from .compose import Filters, overlay
from .consistency import ConsistencyFilter
from .geometry import EdgeFilter, FarFilter
from .motion import MotionFilter
from .verdict import Filter, Look, Observation, Reason, Surfaces, Verdict
from .writer import FilteredWriter, Written
