"""The shipped taxi requests of one day in Manhattan. Derived from NREL HIVE (BSD-3-Clause); see NOTICE.md."""
