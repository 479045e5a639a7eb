// The work call: what is committed, repeated, held, released, given back.
#include "fake.h"

#include <string.h>

static void two_volunteers_complete_a_batch(void)
{
    struct world w;
    struct fake a, b;

    world_init(&w, NULL);
    fake_join(&a, &w, 1, 1, false);
    fake_join(&b, &w, 2, 2, false);
    world_batch(&w, "batch_1", 30, false);
    fake_go(&a);
    fake_go(&b);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", 30, false, true);
    CHECK(a.work_seqs && b.work_seqs && a.check_seqs && b.check_seqs);
    fakes_output(&w, "batch_1");
    a.running = b.running = false;
    world_run(&w, 10);
    fake_release(&a);
    fake_release(&b);
    world_run(&w, 10);
    CHECK_EQ(fake_leave(&a), ERR_OK);
    CHECK_EQ(fake_leave(&b), ERR_OK);
    CHECK_EQ(fake_leave(&b), ERR_DENIED);
    world_release(&w);
}

int main(void)
{
    two_volunteers_complete_a_batch();
    return 0;
}
