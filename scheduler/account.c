#include "scheduler/account.h"

#include <stdlib.h>

#include "scheduler/state.h"

enum { ACCOUNT_LEN = 64 };

struct asking {
    sched_account_fn *fn;
    void *ctx;
};

static enum err account_read(const redisReply *reply, struct sched_account *out)
{
    struct sched_walk walk = sched_walk_over(reply);
    struct sched_account a = {0};

    a.name = sched_walk_text(&walk);
    a.backends = sched_walk_text(&walk);
    a.credit = sched_walk_u64(&walk);
    a.units = sched_walk_u64(&walk);
    a.tokens = sched_walk_u64(&walk);
    a.checks = sched_walk_u64(&walk);
    a.disagreements = sched_walk_u64(&walk);
    a.faults = sched_walk_u64(&walk);
    a.agreed = sched_walk_u64(&walk);
    a.run = sched_walk_u64(&walk);
    a.banned = sched_walk_u64(&walk) > 0;
    a.online = sched_walk_u64(&walk);
    a.rank = sched_walk_u64(&walk);
    a.checking.lines = sched_walk_u64(&walk);
    a.checking.credit = sched_walk_u64(&walk);
    a.later.lines = sched_walk_u64(&walk);
    a.later.credit = sched_walk_u64(&walk);
    if (walk.bad)
        return ERR_FORMAT;
    *out = a;
    return ERR_OK;
}

static void on_account(enum err err, const redisReply *reply, void *ctx)
{
    struct asking *asking = ctx;
    struct sched_account account;

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err)
        err = account_read(reply, &account);
    asking->fn(err, err ? NULL : &account, asking->ctx);
    free(asking);
}

enum err sched_account_get(struct sched_store *store, const char *account,
                           sched_account_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct asking *asking;
    enum err err;

    if (!sched_text_fits(account, ACCOUNT_LEN, ACCOUNT_LEN))
        return ERR_RANGE;
    asking = malloc(sizeof *asking);
    if (!asking)
        return ERR_NOMEM;
    *asking = (struct asking){fn, ctx};
    sched_args_text(&args, account);
    err =
        sched_link_call(store->link, "account_get", &args, on_account, asking);
    if (err)
        free(asking);
    return err;
}
