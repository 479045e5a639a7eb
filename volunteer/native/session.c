#include "native/session.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    JSON_REPLY_MAX = 4 << 20,
    JOIN_TIMEOUT_MS = 20000,
    PROGRESS_TIMEOUT_MS = 5000,
    LEAVE_TIMEOUT_MS = 2000,
    ANSWER_SLACK_MS = 20000, // beyond the time that the server may hold a call
    CALL_BACKOFF_MAX_MS = 8000,
    WAIT_MS_DEFAULT = 20000,
    PROGRESS_MS_DEFAULT = 2000,
    TOLL_TRIES = 1 << 16, // at a time: some hundredths of a second
};

enum err native_session_init(struct native_session *s, const char *url,
                             struct native_net *net,
                             const struct native_profile *profile)
{
    size_t len = strlen(url);

    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return ERR_FORMAT;
    while (len && url[len - 1] == '/')
        len--;
    if (len >= sizeof s->url)
        return ERR_RANGE;
    *s = (struct native_session){.net = net, .profile = profile};
    memcpy(s->url, url, len);
    return ERR_OK;
}

static void route(const struct native_session *s, const char *leaf,
                  char out[NATIVE_URL_MAX])
{
    snprintf(out, NATIVE_URL_MAX, "%s/v1/volunteers/%s/%s", s->url, s->id,
             leaf);
}

static json_t *proof_json(const struct native_toll *toll)
{
    char nonce[2 * TOLL_NONCE_LEN + 1];

    for (size_t i = 0; i < TOLL_NONCE_LEN; i++)
        snprintf(nonce + 2 * i, 3, "%02x", toll->toll[SHA256_LEN + i]);
    return json_pack("{s:s, s:s}", "challenge", toll->challenge, "nonce",
                     nonce);
}

static char *join_body(const struct native_profile *p,
                       const struct native_toll *toll)
{
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:i}", "account", p->account,
                  "name", p->name, "backend", p->backend, "kernel_class",
                  p->f32 ? "f32" : "exact", "memory", (json_int_t)p->memory,
                  "threads", (int)p->n_threads);
    char *text;

    if (root && p->operator_key)
        json_object_set_new(root, "referee", json_true());
    if (root && toll->paid)
        json_object_set_new(root, "proof_of_work", proof_json(toll));
    text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

// Only characters that may stand in a URL's path or a header.
static bool is_plain(const char *s)
{
    for (; *s; s++)
        if ((*s < '0' || *s > '9') && (*s < 'A' || *s > 'Z') &&
            (*s < 'a' || *s > 'z') && !strchr("-_.~+/=", *s))
            return false;
    return true;
}

static uint32_t clamp(json_int_t v, uint32_t low, uint32_t high)
{
    return v < low ? low : v > high ? high : (uint32_t)v;
}

static enum err join_parse(struct native_session *s,
                           const struct native_reply *reply)
{
    json_t *root = json_loadb((const char *)reply->body, reply->len, 0, NULL);
    const char *id = NULL, *token = NULL;
    json_int_t wait_ms = WAIT_MS_DEFAULT, progress_ms = PROGRESS_MS_DEFAULT;
    enum err err = ERR_FORMAT;

    if (!root ||
        json_unpack(root, "{s:s, s:s, s?I, s?I}", "id", &id, "token", &token,
                    "wait_ms", &wait_ms, "progress_ms", &progress_ms))
        goto done;
    if (!id[0] || strlen(id) >= sizeof s->id || !is_plain(id) ||
        strchr(id, '/') || strlen(token) >= sizeof s->token || !is_plain(token))
        goto done;
    snprintf(s->id, sizeof s->id, "%s", id);
    snprintf(s->token, sizeof s->token, "%s", token);
    s->wait_ms = clamp(wait_ms, 0, SYN1_WAIT_MS_MAX);
    s->progress_ms = clamp(progress_ms, 100, 60000);
    s->number = 0;
    s->rtt_ms = 0;
    err = ERR_OK;

done:
    json_decref(root);
    return err;
}

// What a reply of 428 asks for. ERR_FORMAT, ERR_RANGE (nobody should pay that).
static enum err toll_parse(const struct native_reply *reply,
                           struct native_toll *out)
{
    json_t *root = json_loadb((const char *)reply->body, reply->len, 0, NULL);
    struct native_toll toll = {0};
    const char *challenge = NULL;
    json_int_t bits = 0;
    enum err err = ERR_OK;

    if (!root || json_unpack(root, "{s:{s:s, s:I}}", "proof_of_work",
                             "challenge", &challenge, "bits", &bits))
        err = ERR_FORMAT;
    else if (!challenge[0] || strlen(challenge) >= sizeof toll.challenge ||
             bits < 0 || bits > TOLL_BITS_MAX)
        err = ERR_RANGE;
    if (!err) {
        snprintf(toll.challenge, sizeof toll.challenge, "%s", challenge);
        toll.bits = (unsigned)bits;
        toll_begin(challenge, strlen(challenge), toll.toll);
        *out = toll;
    }
    json_decref(root);
    return err;
}

bool native_session_pay(struct native_session *s)
{
    struct native_toll *toll = &s->toll;

    native_net_wait(s->net, 1);
    toll->paid = toll_search(toll->toll, TOLL_TRIES, toll->bits);
    return toll->paid || native_net_stopped(s->net);
}

// What a reply other than success means.
static enum err join_refused(struct native_session *s,
                             const struct native_reply *reply, char *why,
                             size_t why_len)
{
    native_reply_why(reply, why, why_len);
    if (reply->status == 428)
        return toll_parse(reply, &s->toll) ? ERR_DENIED : ERR_BUSY;
    return reply->status >= 500 || reply->status == 429 ? ERR_IO : ERR_DENIED;
}

enum err native_session_join(struct native_session *s, char *why,
                             size_t why_len)
{
    struct native_reply reply = {0};
    char url[NATIVE_URL_MAX];
    char *body = join_body(s->profile, &s->toll);
    enum err err = ERR_NOMEM;

    s->id[0] = '\0';
    native_net_unhold(s->net);
    snprintf(why, why_len, "%s", err_text(err));
    if (!body)
        return err;
    snprintf(url, sizeof url, "%s/v1/volunteers", s->url);
    err = native_net_do(s->net,
                        &(struct native_request){
                            .method = "POST",
                            .url = url,
                            .operator_key = s->profile->operator_key,
                            .content_type = "application/json",
                            .body = body,
                            .body_len = strlen(body),
                            .timeout_ms = JOIN_TIMEOUT_MS,
                            .reply_max = JSON_REPLY_MAX,
                        },
                        &reply);
    if (err) {
        snprintf(why, why_len, "%s",
                 err == ERR_IO ? native_net_why(s->net) : err_text(err));
        goto done;
    }
    if (reply.status != 201 && reply.status != 200) {
        err = join_refused(s, &reply, why, why_len);
        goto done;
    }
    err = join_parse(s, &reply);
    if (err) {
        snprintf(why, why_len, "the server's answer to joining is malformed");
        goto done;
    }
    s->toll = (struct native_toll){0};
    route(s, "presence", url);
    err = native_net_hold(s->net, url, s->token);

done:
    free(body);
    native_reply_release(&reply);
    return err;
}

static enum err call_encode(struct native_session *s,
                            const struct syn1_call *call, uint8_t **out,
                            size_t *out_len)
{
    struct syn1_header header = {.kind = SYN1_CALL, .number = s->number};
    struct bytes_out frame = {0};
    enum err err;

    frame.cap = SYN1_HEADER_LEN + 32 + (size_t)call->n_held * SYN1_ID_LEN +
                (size_t)call->n_models * (SYN1_ID_LEN + 4) + call->result_len +
                SYN1_CRC_LEN;
    frame.ptr = malloc(frame.cap);
    if (!frame.ptr)
        return ERR_NOMEM;
    syn1_begin(&frame, &header);
    syn1_put_call(&frame, call);
    err = syn1_end(&frame);
    if (err) {
        free(frame.ptr);
        return err;
    }
    *out = frame.ptr;
    *out_len = frame.len;
    return ERR_OK;
}

// Take the answer frame out of *reply, which moves to *out.
static enum err answer_parse(const struct native_session *s,
                             struct native_reply *reply,
                             struct native_answer *out)
{
    struct syn1_frame frame;
    enum err err = syn1_parse(reply->body, reply->len, &frame);

    if (err)
        return ERR_FORMAT;
    if (frame.header.kind != SYN1_ANSWER || frame.header.number != s->number)
        return ERR_FORMAT;
    *out = (struct native_answer){
        .reply = *reply, .header = frame.header, .frame = frame.as.answer};
    *reply = (struct native_reply){0};
    return ERR_OK;
}

// What a whole reply to a work call means: ERR_IO says try again.
static enum err reply_judge(const struct native_session *s,
                            struct native_reply *reply, char *why,
                            struct native_answer *out)
{
    enum err err;

    switch (reply->status) {
    case 200:
    case 410:
        err = answer_parse(s, reply, out);
        if (err)
            snprintf(why, NATIVE_WHY_MAX, "the answer frame is malformed");
        return err;
    case 401:
    case 403:
    case 404:
    case 409: // our numbers and the server's differ: start afresh
        native_reply_why(reply, why, NATIVE_WHY_MAX);
        return ERR_DENIED;
    case 408:
    case 429:
        native_reply_why(reply, why, NATIVE_WHY_MAX);
        return ERR_IO;
    default:
        native_reply_why(reply, why, NATIVE_WHY_MAX);
        return reply->status >= 500 ? ERR_IO : ERR_FORMAT;
    }
}

// A call may be held, so only the short ones tell of the network: follow them
// down at once and the others up slowly.
static void rtt_learn(struct native_session *s, int64_t took_ms)
{
    int64_t grown = s->rtt_ms + s->rtt_ms / 16 + 1;

    s->rtt_ms = took_ms < grown ? took_ms : grown;
}

enum err native_session_call(struct native_session *s,
                             const struct syn1_call *call,
                             void (*on_error)(const char *why, void *ctx),
                             void *ctx, struct native_answer *out)
{
    char url[NATIVE_URL_MAX], why[NATIVE_WHY_MAX] = "";
    uint8_t *body = NULL;
    size_t body_len = 0;
    enum err err;

    s->number++;
    err = call_encode(s, call, &body, &body_len);
    if (err)
        return err;
    route(s, "work", url);
    for (unsigned attempt = 0;; attempt++) {
        struct native_reply reply = {0};
        int64_t start_ms = native_now_ms();

        err = native_net_do(s->net,
                            &(struct native_request){
                                .method = "POST",
                                .url = url,
                                .bearer = s->token,
                                .content_type = "application/octet-stream",
                                .body = body,
                                .body_len = body_len,
                                .timeout_ms = call->wait_ms + ANSWER_SLACK_MS,
                                .reply_max = SYN1_FRAME_MAX,
                            },
                            &reply);
        if (!err) {
            rtt_learn(s, native_now_ms() - start_ms);
            err = reply_judge(s, &reply, why, out);
        } else if (err == ERR_IO || err == ERR_FULL) {
            snprintf(why, sizeof why, "%s", native_net_why(s->net));
        }
        native_reply_release(&reply);
        if (err && err != ERR_GONE && on_error)
            on_error(why, ctx);
        if (err != ERR_IO)
            break;
        native_net_sleep(s->net,
                         native_backoff_ms(attempt, CALL_BACKOFF_MAX_MS));
    }
    free(body);
    return err;
}

void native_answer_release(struct native_answer *answer)
{
    native_reply_release(&answer->reply);
    *answer = (struct native_answer){0};
}

void native_session_progress(struct native_session *s, const uint8_t *units,
                             size_t n, uint64_t n_tokens)
{
    char body[64 + NATIVE_HELD_MAX * (2 * SYN1_ID_LEN + 3)];
    char url[NATIVE_URL_MAX];
    struct native_reply reply;
    int len = snprintf(body, sizeof body, "{\"units\":[");

    for (size_t i = 0; i < n && i < NATIVE_HELD_MAX; i++) {
        len += snprintf(body + len, sizeof body - (size_t)len, "%s\"",
                        i ? "," : "");
        for (size_t j = 0; j < SYN1_ID_LEN; j++)
            len += snprintf(body + len, sizeof body - (size_t)len, "%02x",
                            units[i * SYN1_ID_LEN + j]);
        len += snprintf(body + len, sizeof body - (size_t)len, "\"");
    }
    len += snprintf(body + len, sizeof body - (size_t)len, "],\"tokens\":%llu}",
                    (unsigned long long)n_tokens);
    route(s, "progress", url);
    if (!native_net_do(s->net,
                       &(struct native_request){
                           .method = "POST",
                           .url = url,
                           .bearer = s->token,
                           .content_type = "application/json",
                           .body = body,
                           .body_len = (size_t)len,
                           .timeout_ms = PROGRESS_TIMEOUT_MS,
                           .reply_max = JSON_REPLY_MAX,
                       },
                       &reply))
        native_reply_release(&reply);
}

void native_session_leave(struct native_session *s)
{
    char url[NATIVE_URL_MAX];
    struct native_reply reply;

    if (!s->id[0])
        return;
    route(s, "leave", url);
    if (!native_net_do(s->net,
                       &(struct native_request){
                           .method = "POST",
                           .url = url,
                           .bearer = s->token,
                           .timeout_ms = LEAVE_TIMEOUT_MS,
                           .reply_max = JSON_REPLY_MAX,
                           .parting = true,
                       },
                       &reply))
        native_reply_release(&reply);
    native_net_unhold(s->net);
    s->id[0] = '\0';
}
