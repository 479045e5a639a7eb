// pages.h - the pages and their assets, from the folder of --web.
#ifndef API_PAGES_H
#define API_PAGES_H

#include "api/request.h"

// GET of a path that no route has: a file of the web folder. "/" is
// index.html, "/contribute" is contribute.html. Names are letters, digits, '.',
// '_', '-', and never begin with a dot.
void api_page_serve(struct api_request *req);

#endif
