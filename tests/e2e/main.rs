//! End to end: the real roles on a real node.
