"""Where images come from: folders, multi-volume zips read in place, Arrow and Parquet files."""
