"""What users see: tables, differences, exports. No torch; everything is made from the results document."""
