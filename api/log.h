// log.h - one line an event on stderr, in logfmt:
//
//   ts=2026-05-04T12:00:00.123Z level=info event=listening address=127.0.0.1
//
// Never log a token, a key, a secret or a prompt.
#ifndef API_LOG_H
#define API_LOG_H

enum api_log_level { API_LOG_INFO, API_LOG_WARN, API_LOG_ERROR };

// fmt makes the rest of the line, "key=value key=\"two words\""; control
// characters in it become spaces, and it is cut at about 1,000 bytes.
void api_log(enum api_log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
