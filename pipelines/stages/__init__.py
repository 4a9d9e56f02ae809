"""One stage a file: plain functions over the records of one unit, without Beam."""
