// A page that was opened from a disk may not read other pages: search shows their titles, and no excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
