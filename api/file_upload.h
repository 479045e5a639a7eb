// file_upload.h - POST /v1/files: a multipart form whose "file" goes to disk as
// it arrives.
#ifndef API_FILE_UPLOAD_H
#define API_FILE_UPLOAD_H

#include "api/request.h"

enum { API_UPLOAD_BODY_MAX = (200 << 20) + 65536 }; // a file and its form

extern const struct api_sink api_file_sink;
void api_file_create_done(struct api_request *req); // the form has ended

#endif
