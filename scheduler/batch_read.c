// A record of a final line, little-endian:
//
//    0  8  number of the line
//    8  1  1: an error line
//    9  1  finish: 0 stop, 1 length
//   10  1  flags. 1: the seed was given; 2: not all makers are of class exact
//   11  1  makers
//   12  4  tokens of the prompt
//   16  4  tokens generated
//   20  8  when it became final, ms
//   28  8  seed
//   36     strings, each a u32 length and its bytes: custom id, error, token
//          ids, log-probabilities, stop strings, blob, model's name, checker's
//          name and backend, proof, then name and backend of each maker
//      with flag 2: a byte for each maker, 0 exact, 1 f32
//
// A proof is empty, or strings of prompt, sampling, biases and stop ids, then
// u8 checks and of each: u8 1 for the referee, strings name and backend.
//
// That of a line with several choices is: u64 number, u8 2, u8 choices, and of
// each a string, which is such a record.
#include "scheduler/batch_read.h"

#include <string.h>

#include "scheduler/work_frame.h"

enum err sched_batch_read(const redisReply *reply, struct sched_batch *out)
{
    struct sched_walk w = sched_walk_over(reply);
    struct sched_batch b = {0};
    uint32_t status;

    b.id = sched_walk_text(&w);
    b.key = sched_walk_text(&w);
    b.model = sched_walk_text(&w);
    b.input_file = sched_walk_text(&w);
    b.output_file = sched_walk_text(&w);
    status = sched_walk_u32(&w);
    b.created_ms = sched_walk_i64(&w);
    b.in_progress_ms = sched_walk_i64(&w);
    b.finalizing_ms = sched_walk_i64(&w);
    b.completed_ms = sched_walk_i64(&w);
    b.total = sched_walk_u64(&w);
    b.ingested = sched_walk_u64(&w);
    b.completed = sched_walk_u64(&w);
    b.failed = sched_walk_u64(&w);
    b.queued = sched_walk_u64(&w);
    b.running = sched_walk_u64(&w);
    b.checking = sched_walk_u64(&w);
    b.tokens = sched_walk_u64(&w);
    b.callback_url = sched_walk_text(&w);
    b.callback_secret = sched_walk_text(&w);
    b.callback_event = sched_walk_text(&w);
    b.callback_delivered_ms = sched_walk_i64(&w);
    b.callback_attempts = sched_walk_u32(&w);
    b.callback_status = (int32_t)sched_walk_i64(&w);
    b.metadata = sched_walk_bytes(&w);
    b.error_code = sched_walk_text(&w);
    b.error_text = sched_walk_text(&w);
    b.error_line = sched_walk_u64(&w);
    b.endpoint = sched_walk_text(&w);
    b.window_ms = sched_walk_i64(&w);
    b.expires_ms = sched_walk_i64(&w);
    b.cancelling_ms = sched_walk_i64(&w);
    b.input_id = sched_walk_text(&w);
    b.output_id = sched_walk_text(&w);
    b.error_id = sched_walk_text(&w);
    b.redundancy = sched_walk_u32(&w);
    b.checked_tokens = sched_walk_u64(&w);
    b.recomputed_tokens = sched_walk_u64(&w);
    b.receipts = *sched_walk_text(&w) == '1';
    b.near = *sched_walk_text(&w) == '1';
    b.callback_kinds = sched_walk_text(&w);
    b.waiting = sched_walk_text(&w);
    b.busy_ms = sched_walk_i64(&w);
    b.recent_ms = sched_walk_i64(&w);
    b.recent_final = sched_walk_u64(&w);
    b.prompt_tokens = sched_walk_u64(&w);
    if (w.bad || status > SCHED_CANCELLING)
        return ERR_FORMAT;
    b.status = (enum sched_batch_status)status;
    *out = b;
    return ERR_OK;
}

static bool string(struct bytes *in, struct bytes *out)
{
    uint32_t len;

    if (!bytes_u32(in, &len) || !bytes_take(in, len, &out->ptr))
        return false;
    out->len = len;
    return true;
}

// A string, copied with an end to *names.
static bool name(struct bytes *in, char **names, size_t *room, const char **out)
{
    struct bytes s;

    if (!string(in, &s) || s.len >= *room)
        return false;
    if (s.len)
        memcpy(*names, s.ptr, s.len);
    (*names)[s.len] = '\0';
    *out = *names;
    *names += s.len + 1;
    *room -= s.len + 1;
    return true;
}

// in: the proof of a line whose prompt has n_prompt tokens.
static bool proof_read(struct bytes in, uint32_t n_prompt, char **names,
                       size_t *room, struct sched_proof *out)
{
    struct sched_proof p = {0};
    struct bytes prompt, sampling, bias, stop;
    uint8_t n;

    if (!string(&in, &prompt) || !string(&in, &sampling) ||
        !string(&in, &bias) || !string(&in, &stop) || !bytes_u8(&in, &n) ||
        !sched_sampling_get(sampling, &p.sampling) ||
        prompt.len != (size_t)n_prompt * 4 || bias.len % 8 || stop.len % 4 ||
        bias.len / 8 > SYN1_BIAS_MAX || stop.len / 4 > SYN1_STOP_MAX)
        return false;
    p.prompt = prompt.ptr;
    p.bias = bias.ptr;
    p.n_bias = (uint16_t)(bias.len / 8);
    p.stop = stop.ptr;
    p.n_stop = (uint16_t)(stop.len / 4);
    for (uint8_t i = 0; i < n; i++) {
        struct sched_check c = {0};
        const char *who;
        uint8_t bits; // 1: referee, 2: a span follows

        if (!bytes_u8(&in, &bits) || !name(&in, names, room, &who) ||
            !name(&in, names, room, &c.backend) ||
            ((bits & 2) &&
             (!bytes_u16(&in, &c.span_first) || !bytes_u16(&in, &c.span_end))))
            return false;
        c.referee = bits & 1;
        if (p.n_checks < SCHED_CHECKS_MAX)
            p.checks[p.n_checks++] = c;
    }
    *out = p;
    return in.len == 0;
}

enum { CHOICES_HEAD = 10 };

uint32_t sched_result_choices(struct bytes record)
{
    return record.len >= CHOICES_HEAD && record.ptr[8] == 2 ? record.ptr[9] : 0;
}

enum err sched_result_choice(struct bytes *record, uint32_t i,
                             struct bytes *choice)
{
    const uint8_t *head;

    if (i == 0 && !bytes_take(record, CHOICES_HEAD, &head))
        return ERR_FORMAT;
    return string(record, choice) ? ERR_OK : ERR_FORMAT;
}

enum err sched_result_read(struct bytes in, uint32_t *tokens, char *names,
                           size_t room, struct sched_result *out)
{
    struct sched_result r = {0};
    struct bytes ids, proof;
    size_t each;
    uint8_t is_error, finish, given, makers;
    uint64_t final_ms;

    if (!bytes_u64(&in, &r.number) || !bytes_u8(&in, &is_error) ||
        !bytes_u8(&in, &finish) || !bytes_u8(&in, &given) ||
        !bytes_u8(&in, &makers) || !bytes_u32(&in, &r.n_prompt) ||
        !bytes_u32(&in, &r.n_tokens) || !bytes_u64(&in, &final_ms) ||
        !bytes_u64(&in, &r.seed) || !string(&in, &r.custom_id) ||
        !string(&in, &r.error) || !string(&in, &ids) ||
        !string(&in, &r.logprobs) || !string(&in, &r.stops) ||
        !string(&in, &r.blob) || !name(&in, &names, &room, &r.model) ||
        !name(&in, &names, &room, &r.checker.name) ||
        !name(&in, &names, &room, &r.checker.backend) || !string(&in, &proof) ||
        is_error > 1 || given > 3 || makers > SCHED_MAKERS_MAX ||
        ids.len != (size_t)r.n_tokens * 4 ||
        (r.error.len > 0) != (is_error == 1))
        return ERR_FORMAT;
    for (uint8_t i = 0; i < makers; i++)
        if (!name(&in, &names, &room, &r.makers[i].name) ||
            !name(&in, &names, &room, &r.makers[i].backend))
            return ERR_FORMAT;
    r.near = given & 2;
    for (uint8_t i = 0; r.near && i < makers; i++)
        if (!bytes_u8(&in, &r.makers[i].kernel_class))
            return ERR_FORMAT;
    each = r.n_tokens ? r.logprobs.len / r.n_tokens : 0;
    if (in.len || r.logprobs.len != each * r.n_tokens ||
        each % 8 != (each ? 4 : 0))
        return ERR_FORMAT;
    r.has_proof = proof.len > 0;
    if (r.has_proof && !proof_read(proof, r.n_prompt, &names, &room, &r.proof))
        return ERR_FORMAT;
    for (uint32_t i = 0; i < r.n_tokens; i++)
        tokens[i] = bytes_peek_u32(ids.ptr + (size_t)i * 4);
    r.tokens = tokens;
    r.finish = finish ? SCHED_FINISH_LENGTH : SCHED_FINISH_STOP;
    r.seed_given = given & 1;
    r.final_ms = (int64_t)final_ms;
    r.n_makers = makers;
    *out = r;
    return ERR_OK;
}
