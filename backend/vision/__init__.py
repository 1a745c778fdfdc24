"""What looks at pictures: depth, masks, point tracks, camera poses, repainted first frames; thin wrappers on libraries."""
